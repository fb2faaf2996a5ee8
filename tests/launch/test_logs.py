from __future__ import annotations

from pathlib import Path

from franca.launch.logs import Line, LogFile, follow, log_paths, readable


def test_ranks_are_read_from_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "5_0_log.out"
    path.write_text("2026-01-01T00:00:00Z 5 started\n 0: step 1: good\n11: hello\nsrun: error\n")
    assert LogFile(path, labelled=True).read() == [
        Line(None, None, "2026-01-01T00:00:00Z 5 started"),
        Line(None, 0, "step 1: good"),
        Line(None, 11, "hello"),
        Line(None, None, "srun: error"),
    ]


def test_a_log_of_one_task_has_its_rank_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "5_3_log.out"
    path.write_text("7: not a label\n")
    assert LogFile(path, labelled=False).read() == [Line(None, 3, "7: not a label")]


def test_only_new_and_complete_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "5_2_0_log.out"
    path.write_text("0: one\n0: tw")
    file = LogFile(path, labelled=True)
    assert file.read() == [Line("2", 0, "one")] and file.read() == []
    with open(path, "a") as log:
        log.write("o\n1: thr\xe9\xe9\n")
    assert file.read() == [Line("2", 0, "two"), Line("2", 1, "thr\xe9\xe9")]


def test_the_logs_of_a_job_come_in_the_order_of_elements_and_tasks(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    for name in ("5_10_0_log.out", "5_9_0_log.out", "55_0_log.out", "5_submission.sh", "5.json"):
        (tmp_path / "jobs" / name).touch()
    assert [path.name for path in log_paths(tmp_path, "5")] == ["5_9_0_log.out", "5_10_0_log.out"]


def test_what_several_ranks_say_in_a_row_is_told_once() -> None:
    same = [Line(None, rank, "warning") for rank in (2, 0, 1)]
    some = [Line(None, rank, "other") for rank in (0, 2)]
    assert list(readable([*same, *some, Line(None, 1, "alone"), Line("3", None, "end")])) == [
        "ranks 0-2 | warning",
        "ranks 0,2 | other",
        "  rank 1 | alone",
        "[3]      job | end",
    ]


def test_following_shows_what_comes_and_what_was_said_last(tmp_path: Path) -> None:
    path = tmp_path / "5_0_log.out"
    path.write_text("0: first\n")
    file, shown = LogFile(path, labelled=True), list[str]()
    still_to_come = ["0: second\n", "0: last\n"]

    def wait() -> bool:
        with open(path, "a") as log:
            log.write(still_to_come.pop(0))
        return bool(still_to_come)

    follow(lambda: [file], shown.append, wait)
    assert [line.split("| ")[1] for line in shown] == ["first", "second", "last"]
