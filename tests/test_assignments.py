"""What is read from a file of shell settings is what bash makes of it, or is said not to be known."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.sources.assignments import Assignment, assignments

from .strategies import thorough

READ = {
    "an array": "A=(1 2 3)",
    "exported": "export A=(1 2 3)",
    "declared": "declare -a A=(1 2)\nreadonly A",
    "two in one line": "export B=0 A=(1 2)",
    "behind another command": "set +u; A=(1 2) ; echo done >/dev/null",
    "quotes": """A=('1 2' "3" 6'7'"8" "" 'c"d' "it's")""",
    "over lines": "A=(\n  1 # one (1)\n  2\n# 'three\n\n  3 \\\n  4\n)",
    "a continued word": "A=(1\\\n2 3)",
    "a string": 'A="1 2"',
    "a string over lines": 'A="1 \\\n2"',
    "a bare string": "A=x#y # comment",
    "empty": "A=",
    "no words": "A=( )",
    "twice": "A=1\nA=(2 3)",
    "in a branch": "if true; then A=(1); fi",
    "a comment": "# A=(1)\n  # A=(2)\nA=(3) # A=(4)",
    "an apostrophe in a comment": "# don't\nA=(1)",
    "an argument": "true A=1\nA=2",
    "another name": "AA=1 B_A=2\nA=3",
    "inside quotes": "B='\nA=1\n'\nA=2",
    "in a document": "cat >/dev/null <<EOF\ndon't\nA=1\nEOF\nA=2",
    "in an indented document": "cat >/dev/null <<-'EOF'\n\tA=1\n\tEOF\nA=2",
    "a shift, not a document": "B=$((1 << C))\nA=2",
    "a shift by a number": "echo $((1<<2)) >/dev/null; A=(\n1\n2\n)",
    "a shift by a name": "B=$((1<<n)); A=(\nn\n)\nn=1",
    "a here-string": "cat >/dev/null <<<EOF\nA=2",
    "a here-string below": "read x <<<abc\nA=2\nabc=1",
    "two documents": "cat >/dev/null <<B - <<'C D'\nA=1\nC D\nB\nA=1\nC D\nA=2",
    "behind a document's mark": "cat >/dev/null <<EOF; A=2\nA=1\nEOF",
    "in a function": "f() { A=(1 2); }; f",
    "in a function of bash": "function f { A=(1 2); }; f",
    "in a case": "case x in\n  x) A=(1 2) ;;\nesac",
    "behind a !": "if ! A=2; then :; fi",
    "behind a bare name": "export B A=2",
    "no comment": "B=#x; A=2",
    "others that need a shell": 'B=$(echo "a ) b")\nC=${#A[@]}\nD=`echo x`\nA=(1)',
    "no line break at the end": "A=(1)",
    "another's value": "B=1\nA=$B",
    "another's value in a word": 'B=1\nA="https://${B}:8443"',
    "others' values": 'B=1; C=\'2 3\'; L=(4 5 6)\nA=(0 $B ${C} "$B" ${L[@]} "${L[@]}" "x${L[*]}" 7)',
    "others' words in one": "L=(1 2 3)\nA=${L[@]}",
    "an empty one": "B=\nA=(1 $B 2)",
}


WORDS = st.text("abcXYZ0189._:/%@,+=#-", min_size=1).filter(lambda word: not word.startswith("#"))


def of(name: str, text: str) -> list[Assignment]:
    """The assignments to one variable."""
    return [found for found in assignments(text) if found.name == name]


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
def test_read_as_bash_reads_it(text: str, tmp_path: Path) -> None:
    bash = shutil.which("bash") or pytest.skip("needs bash")
    (tmp_path / "settings.sh").write_text(text)
    show = '. ./settings.sh; set -f; printf "%s " ${A[@]}'
    seen = subprocess.run([bash, "-c", show], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [this for this in of("A", text) if this.sure]
    assert not any(this.shell for this in found)
    assert len(found) == (2 if text == READ["twice"] else 1)
    assert list(found[-1].words) == seen.stdout.split()


@pytest.mark.parametrize(
    "value",
    [
        "$(hostname -I)",
        "($(hostname -I))",
        '("$(hostname -I)")',
        "`hostname`",
        "(`hostname` 1)",
        '"`hostname`"',
        "($X)",
        '"https://${VIP}:8443"',
        "(10.0.0.{1..3})",
        "(*)",
        "$'a\\tb'",
        *(r'"\\$x"', r"\$x", "'$x'", r"(1\ 2)", "~/x", "([a]=1)", "(1 (2))"),
    ],
)
def test_what_only_a_shell_knows(value: str) -> None:
    (found,) = of("A", f"\nexport A={value}\nB=2\n")
    assert (found.line, found.shell) == (2, True)


@pytest.mark.parametrize("text", ["A+=(1)", "A[0]=1", "A[$i]=1"])
def test_parts_of_an_array(text: str) -> None:
    (found,) = of("A", text)
    assert found.shell


@pytest.mark.parametrize("text", ["A=(1 2", "A=(1 'a)", "A='a", 'A="a\nB=1', "A=`a", "A=(1 2\nB=(3"])
def test_what_is_not_closed(text: str) -> None:
    (found,) = of("A", text)
    assert found.shell


def test_lines_are_counted_and_ends_of_windows_dropped() -> None:
    text = "# x\r\nB=(1\r\n2)\r\nexport A=(1 \\\r\n 2)\r\nA=3\r\n"
    assert of("A", text) == [
        Assignment("A", 4, ("1", "2"), False),
        Assignment("A", 6, ("3",), False),
    ]


@thorough
@given(st.lists(st.tuples(st.sampled_from(["{}", "'{}'", '"{}"', "{}\\\n"]), WORDS), max_size=5))
def test_whatever_is_quoted_is_read_back(parts: list[tuple[str, str]]) -> None:
    text = f"export A=({' '.join(quoted.format(word) for quoted, word in parts)}) # the end"
    (found,) = of("A", text)
    assert (list(found.words), found.shell) == ([word for _, word in parts], False)


@thorough
@given(st.text(alphabet="AB=()'\"`\\$#<>;&|{} \n\tEOF-1", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    assert all(found.name == "A" and found.line >= 1 for found in of("A", text))


@pytest.mark.parametrize(
    "value",
    [
        *("$B", "${A:-2}", "${#L[@]}", "${!L[@]}", "${L[$A]}", "${A%1}", "${A:0:1}", "$(A)"),
        *("$TWO", "$LATER", "$MORE", "$K", "$ODD", "$L", "(${L[@]:0:2})", "${L[1]}"),
    ],
)
def test_variables_that_are_not(value: str) -> None:
    above = "A=1\nL=(1 2 3)\nTWO=1\nTWO=2\nMORE=1\nMORE+=2\nK[0]=1\nODD='$(x)'\n"
    (found,) = of("X", f"{above}X={value}\nLATER=1\n")
    assert found.shell


@pytest.mark.parametrize(
    "text",
    [
        *("case $1 in\n  a) A=(1) ;;\n  b)\n    A=(2)\n    ;;\nesac", "f() { A=1; }; A=2"),
        *("(A=1)\nA=2", "( A=1; )\nA=2", "if ! A=1; then A=2; fi", "! A=1\nA=2", "f()\n{\n\tA=1\n}\nA=2"),
        *("x=$(y)#; A=1\nA=2", "echo $((1<<2)); A=1\n2\nA=2", "read x <<<abc; A=1\nabc\nA=2"),
        *("env A=1 x\nA=2", "x A+=1; A=2", "echo --A=1\nA=2", "[ x ] A=1\nA=2", ": ${A=1}\nA=2"),
    ],
)
def test_none_is_overlooked(text: str) -> None:
    assert len({this.words for this in of("A", text)}) == 2


@pytest.mark.parametrize(
    "part",
    [
        *("a;", "a ", "a;\n", "A=1;", "A=1\n", "A=$(b);", "A=(;", "a[", "a[ ", "a=", "x A=$(b) ", "<<A\n"),
        *("<<A;", "(", ")", "#", "{ ", "\\\n", "declare -A a ", "export a=1 ", "'", '"', "`", "A=(1 "),
    ],
)
def test_a_large_file_is_read_to_its_end(part: str) -> None:
    """A reader that goes back again and again would be at work for hours."""
    reader = threading.Thread(target=assignments, args=((part * (1 << 17))[: 1 << 17],), daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive()
