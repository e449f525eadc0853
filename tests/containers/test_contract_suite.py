"""Every driver keeps its contract against PostgreSQL 15 and 18 as their official images have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("image", ["postgres:15", "postgres:18"])
def test_drivers_keep_their_contract_in_containers(image: str) -> None:
    suite = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/contract"]
    chosen = {"PAXCOMMIT_TEST_POSTGRES": "containers", "PAXCOMMIT_TEST_IMAGE": image}
    ran = subprocess.run(
        suite, cwd=ROOT, env={**os.environ, **chosen}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
