"""What a newcomer sees first: the next steps, the help, the demos."""

from __future__ import annotations

import shlex

import pytest

from secateurs import cli
from secateurs.cli.demo import DEMOS


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return end.value.code, capsys.readouterr()


def parses(line: str) -> bool:
    command, *_ = cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
    return callable(command)


def test_without_a_command_eight_lines_show_what_to_do_next(capsys):
    status, shown = run(capsys)
    lines = shown.out.splitlines()
    assert status == 0
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 80
    examples = [line.strip().partition("  ")[0] for line in lines[2:]]
    assert all(parses(line) for line in examples if "--help" not in line)


@pytest.mark.parametrize("task", cli.TASKS)
def test_the_help_has_every_task_with_an_example(capsys, task):
    status, shown = run(capsys, "--help")
    assert status == 0
    example, commands = cli.TASKS[task]
    assert task in shown.out
    assert parses(example)
    assert all(f"│ {command.partition(':')[2]} " in shown.out for command in commands)
    assert max(map(len, shown.out.splitlines())) <= 80


def test_every_command_has_a_task():
    names = {
        command.partition(":")[2] for _, commands in cli.TASKS.values() for command in commands
    }
    assert names | {"bounds"} == {name for name in cli.app if not name.startswith("-")}


@pytest.mark.parametrize("name", DEMOS)
def test_the_commands_of_a_demo_are_commands(name):
    assert all(parses(f"secateurs {line}") for line in DEMOS[name].commands)


def test_the_demos_are_listed_and_a_misspelt_one_is_refused(capsys):
    status, shown = run(capsys, "demo")
    assert status == 0
    assert all(name in shown.out for name in DEMOS)
    status, shown = run(capsys, "demo", "colums")
    assert (status, len(shown.err.splitlines())) == (2, 1)
    assert "columns" in shown.err


def test_a_demo_runs(capfd):
    assert run(capfd, "demo", "matrix")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_runs(capfd, name):
    assert run(capfd, "demo", name)[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--d x --eps .1", "--d: got 'x'; expected a whole number, such as 4"),
        ("--d 2 --eps 50%", "--eps: got '50%'; expected a number, such as 0.5"),
        ("--d 2 --d 3 --eps .1", "--d: got it more than once; expected it once"),
        ("3 --d 2 --eps .1", "the command line: got '3'; expected no further word; write names"),
        ("--d 2 --eps .1 --json=maybe", "--json: got 'maybe'; expected no value; give the option"),
        ("--d 2 --ep .1", "Did you mean --eps instead of --ep?"),
    ],
)
def test_options_that_cannot_be_read_are_one_line(capsys, options, message):
    status, shown = run(capsys, "bounds", "tickets", *options.split())
    assert status == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
