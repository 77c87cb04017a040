/* Write numbers from an emulated microcontroller. */
#ifndef SAY_H
#define SAY_H
#include <stdint.h>
#include <string.h>

#ifdef __AVR__
#include <avr/io.h>
#include <avr/interrupt.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#define STORED PROGMEM
#define LOAD(to, from) memcpy_P(to, from, sizeof to)
static void say_init(void) { UCSR0B = 1 << TXEN0; }
static void say_char(char c) {
    while (!(UCSR0A & (1 << UDRE0))) {}
    UDR0 = (uint8_t)c;
}
static void say_end(void) {
    say_char('\n');
    while (!(UCSR0A & (1 << TXC0))) {}
    cli();
    sleep_mode();
}
#else
#define STORED
#define LOAD(to, from) memcpy(to, from, sizeof to)
static void say_call(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
static void say_init(void) {}
static void say_char(char c) { say_call(3, &c); }
static void say_end(void) { say_call(0x18, (const void *)0x20026); }
#endif

static void say(int64_t v) {
    char digits[24];
    int n = 0;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do { digits[n++] = (char)('0' + u % 10); u /= 10; } while (u);
#ifdef __AVR__
    say_char('<');
#endif
    if (v < 0) say_char('-');
    while (n) say_char(digits[--n]);
#ifdef __AVR__
    say_char('>');
#endif
    say_char('\n');
}
#endif
