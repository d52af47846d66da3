"""The dashboard that is kept is the one that the module makes."""

from scripts.monitoring.dashboard import PATH, ROWS, dashboard, text


def test_the_kept_dashboard_is_the_one_that_is_made() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run python -m scripts.monitoring.dashboard"


def test_no_panel_covers_another() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    taken = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert len(places) == len(ROWS) + sum(len(panels) for _, panels in ROWS)
