"""Values that a method's `Config` refuses."""

import pytest


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("peterrec", {"predict": "previous"}),
        ("peterrec", {"transfer": "some"}),
        ("peterrec", {"bias_start": "popular"}),
        ("ptum", {"negatives": 0}),
        ("ptum", {"next_behaviours": 0}),
        ("ptum", {"drawn_from": "users"}),
        ("clue", {"loss": "byol"}),
        ("clue", {"without": "views"}),
        ("clue", {"temperature": 0.0}),
        ("ccl", {"similarity": "euclidean"}),
        ("idicl", {"aggregation": "some"}),
        ("idicl", {"attention": "additive"}),
        ("idicl", {"user_vector": "first"}),
        ("idicl", {"interests": 0}),
        ("idicl", {"attention_temperature": 0.0}),
        ("cl4srec", {"projection": "mlp"}),
        ("cl4srec", {"rec_weight": -1.0}),
        ("coserec", {"rec_weight": -1.0}),
        ("coserec", {"temperature": -1.0}),
        ("duorec", {"contrast": "x"}),
        ("duorec", {"same_target_negatives": "some"}),
        ("duorec", {"rec_weight": -1.0}),
    ],
)
def test_wrong_values_are_rejected(name, wrong):
    """Else a training would stop later, or the message would not name the hyper-parameter."""
    from userbench.method import configure, load_method

    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        configure(load_method(name), wrong)
    assert "\n" not in str(caught.value)
