"""Who looks at what is kept apart has it written down."""

from tests.lab.voices.looks import COLUMNS, TABLE, note


def test_a_look_is_a_line_of_date_commit_bench_and_figures(tmp_path):
    table = tmp_path / "looks.tsv"
    table.write_text("\t".join(COLUMNS) + "\n")
    note("bench-turns", "abc", {"cut_off": 3, "of": 150}, table)
    note("bench-latency", "def", {}, table)
    heading, first, second = (line.split("\t") for line in table.read_text().splitlines())
    assert tuple(heading) == COLUMNS
    assert first[1:] == ["abc", "bench-turns", "cut_off 3, of 150"]
    assert second[1:] == ["def", "bench-latency", ""]


def test_the_tree_s_table_has_a_commit_for_every_look():
    heading, *looks = (line.split("\t") for line in TABLE.read_text().splitlines())
    assert tuple(heading) == COLUMNS
    assert all(len(look) == len(COLUMNS) and look[1] for look in looks)
