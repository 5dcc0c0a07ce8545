"""Take the pictures in docs/screenshots of Dagster beside the local stack.

Needs a Chromium, Playwright and Pillow, which nothing else here does; Dagster runs in the environment that is named:

    apt-get install chromium
    python -m venv /tmp/shots && /tmp/shots/bin/pip install playwright pillow
    /tmp/shots/bin/python docs/take_dagster_screenshots.py --python .venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
LOCATION = "dagster_defs.definitions"
JOB = "order_totals_to_snowflake"
EXPORT, LOAD = "exports/shop/order_totals", "snowflake/demo/public/order_totals"
SINK, SENSOR = "materialize/shop/orders_sink", "sinks_health"
DEADLINE = 180.0

_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}}) { ... on LaunchRunSuccess { run { runId } } }
}
"""
_START_SENSOR = """
mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }
"""
_CHECK = """
query ($key: AssetKeyInput!) {
  assetCheckExecutions(assetKey: $key, checkName: "healthy", limit: 1) { evaluation { success } }
}
"""
_STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


class Api:
    """The API of Dagster's UI."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, text: str, **variables: Any) -> Any:
        """Return the data of the answer to a query."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(f"{self._url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def finish_run(self) -> None:
        """Run the example to its end."""
        # Its greeting would cover the first picture.
        self.ask("mutation { setNuxSeen }")
        selector = {"jobName": JOB, "repositoryName": "__repository__", "repositoryLocationName": LOCATION}
        run = str(self.ask(_LAUNCH, selector=selector)["launchRun"]["run"]["runId"])
        end = time.monotonic() + DEADLINE
        while (status := self.ask(_STATUS, run=run)["runOrError"]["status"]) != "SUCCESS":
            if status in ("FAILURE", "CANCELED") or time.monotonic() > end:
                raise SystemExit(f"the run of {JOB} is {status}")
            time.sleep(1)

    def start_sensor(self) -> None:
        """Have sinks looked at."""
        selector = {"sensorName": SENSOR, "repositoryName": "__repository__", "repositoryLocationName": LOCATION}
        self.ask(_START_SENSOR, selector=selector)

    def wait_for_check(self, *, passed: bool) -> None:
        """Wait until the sink's check says so."""
        end = time.monotonic() + DEADLINE
        key = {"path": SINK.split("/")}
        while [each["evaluation"]["success"] for each in self.ask(_CHECK, key=key)["assetCheckExecutions"]] != [passed]:
            if time.monotonic() > end:
                raise SystemExit(f"the check of {SINK} has not become {passed}")
            time.sleep(1)


def take(url: str, chromium: str) -> None:
    """All pictures, after a run of the example."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 860}, locale="en-US", color_scheme="light")
        page.set_default_timeout(30_000)

        page.goto(f"{url}/assets/{LOAD}?view=lineage&lineageScope=neighbors&lineageDepth=2")
        page.get_by_text("3 / 3 Passed").wait_for()
        page.get_by_text("Loading").first.wait_for(state="hidden")
        save(page, "dagster-lineage")

        page.goto(f"{url}/assets/{EXPORT}?view=checks")
        page.get_by_text("counts_reconciled").first.wait_for()
        save(page, "dagster-checks")

        page.goto(f"{url}/assets/{EXPORT}?view=events")
        page.get_by_text("materialize/manifest").first.wait_for()
        save(page, "dagster-materialization")

        page.goto(f"{url}/assets/{SINK}?view=checks")
        page.get_by_text("Materialize cannot reach the brokers").first.wait_for()
        save(page, "dagster-sink-check")
        browser.close()


def save(page: Page, name: str) -> None:
    """A picture once nothing moves any more, in few colours: it lies in the repository."""
    page.wait_for_timeout(3_000)
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1024} kB")


def main() -> None:
    """Start Dagster, take the pictures, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="the Python with mz-orchestration")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dagster-pictures-") as folder:
        command = ["-m", "mz_orchestration.cli", "local", "dagster", "--dir", f"{folder}/stack", "--port-base", "0"]
        dagster = subprocess.Popen([arguments.python, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert dagster.stdout is not None
            url = next((found[0] for line in dagster.stdout if (found := re.search(r"http://\S+", line))), None)
            if url is None:
                raise SystemExit("Dagster did not start")
            api = Api(url)
            api.start_sensor()
            api.finish_run()
            api.wait_for_check(passed=True)
            fault = ["-m", "mz_orchestration.cli", "local", "fault", "sinks", "--dir", f"{folder}/stack"]
            subprocess.run([arguments.python, *fault, "stay_stalled=shop.orders_sink"], cwd=ROOT, check=True)
            api.wait_for_check(passed=False)
            take(url, arguments.chromium)
        finally:
            dagster.send_signal(signal.SIGINT)
            dagster.wait(120)


if __name__ == "__main__":
    main()
