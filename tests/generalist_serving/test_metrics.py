import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from generalist.tokens import Vocabulary
from generalist.types import Usage
from generalist_serving.events import Outcome
from generalist_serving.metrics import Metrics

from .scripted_backend import ScriptedBackend


@pytest.fixture
def backend(vocab: Vocabulary) -> ScriptedBackend:
    return ScriptedBackend([[vocab.eos]])


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_happened_is_counted(backend: ScriptedBackend) -> None:
    metrics = Metrics(backend)
    usage = Usage(prompt_tokens=100, completion_tokens=30)
    whole = Outcome(task="detect", adapter=None, ended="stop", seconds=0.3, first_token_s=0.06, usage=usage,
                    units={"box": 3, "mask": 1}, issues=2)  # fmt: skip
    for _ in range(2):
        metrics.observe(whole)
    metrics.observe(Outcome(task="detect", adapter=None, ended="busy", seconds=0.0))
    for status in (400, 503, 503, 418):
        metrics.refused(status)
    counted = values(metrics)
    assert counted["generalist_replies_total,ended=stop,task=detect"] == 2
    assert counted["generalist_replies_total,ended=busy,task=detect"] == 1
    assert counted["generalist_first_token_seconds_count"] == 2
    assert counted["generalist_first_token_seconds_bucket,le=0.1"] == 2
    assert counted["generalist_reply_seconds_sum,task=detect"] == pytest.approx(0.6)
    assert counted["generalist_tokens_total,of=prompt"] == 200
    assert counted["generalist_tokens_total,of=completion"] == 60
    assert (counted["generalist_units_total,kind=box"], counted["generalist_units_total,kind=mask"]) == (6, 2)
    assert counted["generalist_parse_issues_total"] == 4
    assert counted["generalist_refusals_total,reason=busy"] == 2
    assert counted["generalist_refusals_total,reason=wrong"] == 1
    assert counted["generalist_refusals_total,reason=other"] == 1


def test_what_has_not_happened_is_zero(backend: ScriptedBackend) -> None:
    counted = values(Metrics(backend))
    assert counted["generalist_units_total,kind=depth"] == counted["generalist_refusals_total,reason=rate"] == 0


def test_the_queue_is_as_it_is_now(backend: ScriptedBackend) -> None:
    metrics = Metrics(backend)
    backend.waiting, backend.running = 3, 2
    counted = values(metrics)
    assert (counted["generalist_requests_waiting"], counted["generalist_requests_running"]) == (3, 2)
    backend.waiting = 0
    assert values(metrics)["generalist_requests_waiting"] == 0


def test_two_servers_in_a_process_count_apart(backend: ScriptedBackend) -> None:
    first, second = Metrics(backend), Metrics(backend)
    first.refused(500)
    assert values(second)["generalist_refusals_total,reason=failed"] == 0


def test_what_others_count_is_told_too(backend: ScriptedBackend) -> None:
    other = CollectorRegistry()
    Counter("others_things", "Things.", registry=other).inc(3)
    found = values(Metrics(backend, [other]))
    assert found["others_things_total"] == 3
    assert found["generalist_requests_waiting"] == 0
    assert not [name for name in found if name.startswith("process_")]  # which the other tells of
