"""More requests at once than a process may open files: the limit is raised, or the run refused in words."""

import resource
import subprocess
import sys
import textwrap

import pytest

from atts_core.engine.open_files import OTHERS


def in_a_process(program: str) -> str:
    """What a program prints in a process of its own, for a hard limit cannot be raised again."""
    asked = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_the_limit_is_raised_and_never_lowered() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 500 + OTHERS:
        pytest.skip("this system allows too few open files")
    said = in_a_process(
        """
        import resource
        from atts_core.engine.open_files import allow_requests
        limit = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limit()[1]))
        for count in (10, 500, 20):
            allow_requests(count, "less")
            print(limit()[0])
        """
    )
    assert [int(word) for word in said.split()] == [200, 500 + OTHERS, 500 + OTHERS]


def test_what_the_system_forbids_is_refused_with_its_number() -> None:
    said = in_a_process(
        """
        import resource
        from atts_core.engine.open_files import allow_requests
        from atts_core.errors import SettingsError
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, 300))
        try:
            allow_requests(1000, "--this")
        except SettingsError as error:
            print(error)
        """
    )
    assert said.startswith("1,000 requests under way need 1,128 open files")
    assert "allows a process 300:" in said
    assert "lower --this" in said
