"""The pytest plug-in, in pytest processes of its own."""

from __future__ import annotations

import sys

import pytest

pytest_plugins = ["pytester"]
MODULE = "agemem_eval.harness.pytest_plugin"
TESTS = """
    import asyncio
    import pytest
    from agemem_eval.baselines.rag import Rag

    class MyMemory(Rag):
        "A memory of the project that is tested."

    def test_mine(agemem_eval, request):
        result = agemem_eval.run(
            env="alfworld", memory=MyMemory, episodes=8, model=MODEL, options={"top_k": 2}
        )
        assert result.success_rate is not None
        assert result.mean("tokens.agent.prompt") > 100
        assert result.mean("quality.j") is None
        assert result.coverage == 1
        result.assert_no_regression("mine", max_drop=0.05)

    async def test_within_a_running_loop(agemem_eval):
        loop = asyncio.get_running_loop()
        result = agemem_eval.run(env="alfworld", memory="none", episodes=2, model="scripted")
        assert result.success_rate == 1
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs pytest on the project in a process of its own, with the plug-in loaded once."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    look = "from importlib import metadata as m; print(m.entry_points(group='pytest11').names)"
    found = pytester.run(sys.executable, "-I", "-c", look)
    given = () if "'agemem_eval'" in found.stdout.str() else ("-p", MODULE)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *given, *arguments)

    return run


def write(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(test_memory=f"MODEL = {model!r}\n" + _dedent(TESTS))


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


def test_a_memory_is_pinned_and_a_later_regression_of_it_fails_the_test(pytester, inner):
    write(pytester, "scripted")
    pinning = inner("--agemem-update-baselines", "-n", "2")
    pinning.assert_outcomes(passed=2)
    pinning.stdout.fnmatch_lines(["agemem-eval: pinned *results/baselines/mine.json"])
    inner("--agemem-runs-dir", "kept", "-W", "error").assert_outcomes(passed=2)
    assert len(list(pytester.path.glob("kept/session-*/*/config.json"))) == 2
    write(pytester, "random")
    worse = inner("-k", "mine")
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["*REGRESSION in success (alfworld/generated, *"])
    assert "fixture.py" not in worse.stdout.str()


def test_what_cannot_be_run_or_told_is_said_in_a_line(pytester, inner):
    pytester.makepyfile(
        test_wrong="""
        import pytest
        from agemem_eval.harness.compare.fixture import NoPowerWarning

        def test_name(agemem_eval):
            agemem_eval.run(env="alfworlt", memory="none")

        def test_setting(agemem_eval):
            agemem_eval.run(env="alfworld", memory="none", episods=3)

        def test_inner_class(agemem_eval):
            class Inner: ...
            agemem_eval.run(env="alfworld", memory=Inner)

        def test_baseline(agemem_eval):
            result = agemem_eval.run(env="alfworld", memory="none", episodes=1, model="scripted")
            result.assert_no_regression("none")

        def test_power(agemem_eval):
            one, two = (
                agemem_eval.run(env="alfworld", memory="none", episodes=3, model="random", seed=0,
                                name=name, max_steps=3, options={"alfworld.engine": "native"})
                for name in ("one", "two")
            )
            from agemem_eval.harness.compare.command import pin
            path = pin(one.directory, agemem_eval.baselines / "x.json")
            two.frames[0].columns["steps"][:] += 1
            with pytest.warns(NoPowerWarning, match="CANNOT TELL: success"):
                two.assert_no_regression("x", max_drop=0.1)
            with pytest.raises(pytest.fail.Exception, match="CANNOT TELL: success"):
                two.assert_no_regression(path, max_drop=0.1, require_power=True)
            with pytest.raises(pytest.fail.Exception, match="did you mean 'success'"):
                two.assert_no_regression("results/baselines/x.json", metrics=["sucess"])
        """
    )
    found = inner()
    found.assert_outcomes(passed=1, failed=4)
    found.stdout.fnmatch_lines_random(
        [
            "agemem-eval: unknown environment 'alfworlt'; did you mean 'alfworld'?",
            "agemem-eval: *'episods'; did you mean 'episodes'?",
            "agemem-eval: *Inner must be at the top level of its module",
            "agemem-eval: there is no baseline *none.json: *--agemem-update-baselines*",
        ]
    )
    assert "During handling" not in found.stdout.str()


def test_two_tests_that_pin_different_runs_under_one_name_are_told(pytester, inner):
    pytester.makepyfile(
        test_same="""
        import pytest

        @pytest.mark.parametrize("episodes", [2, 3])
        def test_it(agemem_eval, episodes):
            result = agemem_eval.run(
                env="alfworld", memory="none", model="scripted", episodes=episodes
            )
            result.assert_no_regression("same")
        """
    )
    found = inner("--agemem-update-baselines")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*two tests pin different runs as *same.json*"])


def test_a_project_that_does_not_use_it_loads_nothing_of_it_but_the_plug_in(pytester, inner):
    pytester.makepyfile(
        test_other=f"""
        import sys

        def test_it():
            loaded = {{name for name in sys.modules if name.startswith("agemem_eval")}}
            assert loaded == {{"agemem_eval", "agemem_eval.harness", {MODULE!r}}}
        """
    )
    inner().assert_outcomes(passed=1)
