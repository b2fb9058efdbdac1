"""Progress: a line every tenth where nobody watches, nothing where nothing shall be shown."""

import io
import re

from jaxepi.progress import Lines, progress_bar


def test_a_log_gets_ten_lines_without_control_characters():
    file = io.StringIO()
    for _ in Lines(range(1000), desc="snapshots", unit="snapshot", file=file):
        pass
    lines = file.getvalue().splitlines()
    assert len(lines) == 10
    assert re.fullmatch(r"snapshots: 100 of 1000 snapshots, 00:00 passed, 00:00 left", lines[0])
    assert lines[-1].startswith("snapshots: 1000 of 1000 snapshots")
    assert "\r" not in file.getvalue()


def test_few_items_have_a_line_each_and_a_run_that_goes_on_says_what_is_new():
    file = io.StringIO()
    with Lines(total=3, unit="frame", file=file) as bar:
        bar.initial = bar.n = 1
        bar.set_postfix_str("300 K", refresh=False)
        bar.update(1)
        bar.update(0)
        bar.update(1)
    lines = file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["2 of 3 frames", "3 of 3 frames"]
    assert lines[0].endswith("; 300 K")


def test_a_terminal_is_asked_for_by_what_stderr_is(monkeypatch, capsys):
    with progress_bar(total=4, shown=False) as bar:
        bar.update(4)
    assert bar.disable
    with progress_bar(total=4, unit="step") as bar:
        assert isinstance(bar, Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar(total=4, unit="step", leave=False) as bar:
        assert not isinstance(bar, Lines)


def test_a_log_that_is_closed_stops_nothing():
    """An error under tqdm's lock left it held, and the end of the program waited for it for ever."""
    file = io.StringIO()
    with Lines(total=5, unit="frame", file=file) as bar:
        file.close()
        bar.update(5)
    with Lines(total=5, unit="frame", file=io.StringIO()) as bar:
        bar.update(1)
