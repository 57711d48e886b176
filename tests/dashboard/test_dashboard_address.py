"""What an address says, and says again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsearch.analysis.dashboard.address import Address, listed, parse, shortened

IDS = st.lists(st.integers(0, 1200).map("{:04d}".format), unique=True)


@given(IDS)
def test_trials_in_short_are_the_same_trials(ids: list[str]) -> None:
    assert list(listed(shortened(ids))) == ids


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["0000", "0001", "0002", "0004"], "0000-0002,0004"),
        (["0001", "0000"], "0001,0000"),
        (["0099", "0100"], "0099-0100"),
        (["9", "10"], "9,10"),
        (["a.b", "0001"], "a.b,0001"),
        ([], ""),
    ],
    ids=str,
)
def test_runs_are_written_by_their_ends(ids: list[str], text: str) -> None:
    assert shortened(ids) == text


STATES = {
    "overview": Address(),
    "filters": Address(page="trials", filters={"prox": {"filterType": "text", "type": "contains", "filter": "a&b=c"}}),
    "sort": Address(page="trials", sort=(("val_psnr", "desc"), ("folds", "asc"))),
    "selection": Address(page="figures", figure="slice-lr", selected=("0000", "0001", "0007")),
    "nothing selected": Address(page="figures", figure="curves", selected=()),
    "compare": Address(page="compare", chosen=("0007", "0003")),
    "trial": Address(page="trial", trial="0003", sort=(("folds", "asc"),)),
}


@pytest.mark.parametrize("study", ["", "one of/several?"], ids=["one", "several"])
@pytest.mark.parametrize("address", STATES.values(), ids=STATES)
def test_an_address_says_what_it_was_made_from(address: Address, study: str) -> None:
    from dataclasses import replace

    address = replace(address, study=study)
    path, _, query = address.href.partition("?")
    assert parse(path, f"?{query}" if query else "", several=bool(study)) == address


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/", "overview"),
        (None, "overview"),
        ("/trials/", "trials"),
        ("/overview", "nowhere"),
        ("/trial", "nowhere"),
        ("/trial/..%2F..%2Fetc", "nowhere"),
        ("/study/x", "nowhere"),
        ("/no/such/page", "nowhere"),
    ],
    ids=str,
)
def test_paths_of_one_study(path: str | None, page: str) -> None:
    assert parse(path, "", several=False).page == page


@pytest.mark.parametrize(
    "query",
    ["filter={", "filter=[1]", "filter={%22a%22:1}", "sort=x", "sort=:desc", "select=", "compare=,,-", "%%%", "a"],
)
def test_a_broken_query_is_passed_over(query: str) -> None:
    address = parse("/trials", f"?{query}", several=False)
    assert (address.filters, address.sort, address.chosen, address.selected or ()) == ({}, (), (), ())


def test_an_endless_range_has_an_end() -> None:
    assert len(listed("0-99999999999999999999")) <= 20_001
