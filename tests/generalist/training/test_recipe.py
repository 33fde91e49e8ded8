"""Recipes, their schedules, and those that make no sense."""

from __future__ import annotations

import dataclasses

import pytest

from generalist.training.recipe import Recipe, check_recipe
from generalist.training.schedule import location_sigma, rate_factor
from generalist.types import GeneralistError

RECIPE = Recipe(images=160_000)


@pytest.mark.parametrize("schedule, middle", [("linear", 0.5), ("cosine", 0.51)])
def test_the_rate_rises_is_held_and_falls(schedule: str, middle: float) -> None:
    recipe = dataclasses.replace(RECIPE, schedule=schedule)
    assert rate_factor(0, recipe) == pytest.approx(1 / 60) and rate_factor(100, recipe) == 1
    assert rate_factor(int(recipe.steps * 0.4), recipe) == 1
    assert rate_factor(int(recipe.steps * 0.7), recipe) == pytest.approx(middle, abs=0.01)
    assert rate_factor(recipe.steps - 1, recipe) == pytest.approx(0.02, abs=0.001)
    falling = [rate_factor(step, recipe) for step in range(int(recipe.steps * 0.4), recipe.steps, 50)]
    assert falling == sorted(falling, reverse=True)


def test_without_warm_up_and_hold_the_rate_falls_from_the_first_step() -> None:
    recipe = dataclasses.replace(RECIPE, warmup_steps=0, hold=0.0)
    assert rate_factor(0, recipe) == 1 > rate_factor(1, recipe)


def test_locations_get_sharper() -> None:
    assert location_sigma(0, RECIPE) == 6.0 and location_sigma(RECIPE.steps // 2, RECIPE) == 1.5
    assert location_sigma(0, dataclasses.replace(RECIPE, start="nano")) == 1.5


def test_steps_learn_from_all_processes() -> None:
    assert RECIPE.steps == 10_000
    assert dataclasses.replace(RECIPE, accumulate=4, processes=2).steps == 1250
    assert dataclasses.replace(RECIPE, images=1000).steps == 7 * 8  # whole chunks of 128
    assert dataclasses.replace(RECIPE, images=1000, processes=2).chunks == 6


def test_a_short_run_averages_over_a_part_of_it() -> None:
    decays = [dataclasses.replace(RECIPE, images=128 * n).ema_decay for n in (1, 25, 1250, 12_500)]
    assert decays == [0.0, pytest.approx(0.9), pytest.approx(0.998), 0.999]


@pytest.mark.parametrize("fields, says", [
    ({"images": 0}, "--images is 0; scenes are composed 8 batches at a time, so use 128 or more"),
    ({"images": 255, "processes": 2}, "use 256 or more"),
    ({"images": 200, "accumulate": 9}, "use 256 or more"),
    ({"batch_size": 0}, "--batch-size is 0; use 1 or more"),
    ({"accumulate": -1}, "--accumulate is -1"),
    ({"looks": -1}, "--looks is -1"),
    ({"seed": -1}, "--seed is -1"),
    ({"warmup_steps": -1}, "--warmup-steps is -1"),
    ({"learning_rate": 0.0}, "--learning-rate is 0.0"),
    ({"learning_rate": float("nan")}, "--learning-rate is nan"),
    ({"hold": 1.0}, "--hold is 1.0; use 0 or more, and less than 1"),
    ({"ema": 1.5}, "--ema is 1.5"),
    ({"schedule": "steps"}, "--schedule is 'steps'; use cosine or linear"),
    ({"precision": "fp8"}, "--precision is 'fp8'; use bf16 or no"),
    ({"agvm": True}, "--agvm compares the halves of a batch"),
])  # fmt: skip
def test_recipes_that_make_no_sense(fields: dict[str, object], says: str) -> None:
    with pytest.raises(GeneralistError, match=says.replace("(", r"\(")):
        check_recipe(dataclasses.replace(RECIPE, **fields))  # type: ignore[arg-type]


def test_recipes_that_do() -> None:
    for fields in ({}, {"images": 128}, {"agvm": True, "processes": 2}, {"agvm": True, "accumulate": 2}, {"ema": 0.0}):
        check_recipe(dataclasses.replace(RECIPE, **fields))  # type: ignore[arg-type]
