"""Hypothesis strategies and the effort that property tests make."""

from hypothesis import settings
from hypothesis import strategies as st

thorough = settings(max_examples=150, deadline=None, database=None)

# where what is drawn is large, or there is a test for each of many keys
brief = settings(thorough, max_examples=40)

BREAKING = [*";{}\n\r\t\0\"'`$%#\\ ", "\u2028", "\u202e", "; }\n", "${x}"]
BREAKERS = st.sampled_from(BREAKING)


@st.composite
def spoilt(draw: st.DrawFn, valid: str) -> str:
    """`valid` with something put into it."""
    at = draw(st.integers(0, len(valid)))
    return valid[:at] + draw(BREAKERS | st.text(max_size=3)) + valid[at:]
