/* Start of a program without a library: a stack, a first instruction, and a way out. */
#include <stdint.h>

int main(void);
void start(void);
void fault(void);

void start(void) {
    main();
    fault();
}

void fault(void) {
    register int r0 __asm__("r0") = 0x18;
    register const void *r1 __asm__("r1") = (const void *)0x20023;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    for (;;) {}
}

__attribute__((section(".vectors"), used)) static void *const vectors[4] = {
    (void *)0x20004000, (void *)start, (void *)fault, (void *)fault,
};
