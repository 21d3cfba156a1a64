"""More requests at once than a process may open files: the limit is raised, or the run refused in words."""

import resource
import subprocess
import sys
import textwrap

import pytest


def in_a_process(program: str) -> str:
    """What a program prints in a process of its own, for a hard limit cannot be raised again."""
    begin = """
        import resource
        from atts_core.engine.open_files import allow_requests, require_requests
        from atts_core.errors import SettingsError
    """
    asked = [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(program)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_the_limit_is_raised_as_far_as_it_goes_and_never_lowered() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 700:
        pytest.skip("this system allows too few open files")
    said = in_a_process(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 700))
        for count in (10, 500, 20, 10_000):
            missing = allow_requests(count, 2)
            print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], missing)
        """
    )
    assert said.splitlines() == ["200 0", "572 0", "572 0", "700 9372"]


def test_what_the_system_forbids_is_refused_with_its_number() -> None:
    said = in_a_process(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 300))
        require_requests(100, 2, "--this")
        try:
            require_requests(1000, 2, "--this")
        except SettingsError as error:
            print(error)
        """
    )
    assert said.startswith("1,000 requests under way need 1,072 open files, and this system allows")
    assert "a process 300: lower --this" in said
