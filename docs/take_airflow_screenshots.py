"""Take the pictures in docs/screenshots of Airflow beside the local stack.

Needs a Chromium, Playwright and Pillow, which nothing else here does; Airflow runs in the environment that is named:

    apt-get install chromium
    python -m venv /tmp/shots && /tmp/shots/bin/pip install playwright pillow
    /tmp/shots/bin/python docs/take_airflow_screenshots.py --python .venv/bin/python
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
DAG = "materialize_to_snowflake"
BY_EVENT = "materialize_event_driven"
DEADLINE = 180.0


class Api:
    """Airflow's public API."""

    def __init__(self, url: str) -> None:
        self.url = url
        with urllib.request.urlopen(f"{url}/auth/token", timeout=10) as answer:
            self._token = json.load(answer)["access_token"]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the answer to a request."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def finish_run(self) -> str:
        """Run the example, and the one that its export starts; return the id of the first run."""
        self._unpause(BY_EVENT)
        # The watcher reports what is exported after its first look.
        self._until(self._has_looked, "look of the watcher")
        self._unpause(DAG)
        for dag in (DAG, BY_EVENT):
            self._until(lambda dag=dag: self._finished(dag), f"run of {dag}")
        return str(self.ask("GET", f"/dags/{DAG}/dagRuns")["dag_runs"][0]["dag_run_id"])

    def _unpause(self, dag: str) -> None:
        self._until(lambda: self.ask("GET", f"/dags?dag_id_pattern={dag}")["dags"], f"DAG {dag}")
        self.ask("PATCH", f"/dags/{dag}", {"is_paused": False})

    def _has_looked(self) -> bool:
        (asset,) = self.ask("GET", "/assets?name_pattern=order_totals_export")["assets"]
        return bool(self.ask("GET", f"/assets/{asset['id']}/state-store")["total_entries"])

    def _finished(self, dag: str) -> bool:
        states = [run["state"] for run in self.ask("GET", f"/dags/{dag}/dagRuns")["dag_runs"]]
        if "failed" in states:
            raise SystemExit(f"a run of {dag} has failed")
        return "success" in states and not {"queued", "running"} & set(states)

    def _until(self, condition: Any, what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"no {what} after {DEADLINE:g} s")
            time.sleep(1)


def take(url: str, chromium: str, run: str) -> None:
    """All pictures, of a run of the example."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US", color_scheme="light")
        page.set_default_timeout(30_000)
        # Sets the cookie: everybody is an administrator here.
        page.goto(f"{url}/auth/token/login")

        page.goto(f"{url}/connections")
        page.get_by_role("button", name="Add Connection").click()
        page.get_by_label("Connection ID").or_(page.locator("input[name=connection_id]")).first.fill(
            "materialize_default"
        )
        page.get_by_role("combobox").last.click()
        page.keyboard.type("Materialize")
        page.get_by_role("option", name="Materialize", exact=True).first.click()
        save(page, "airflow-connection")

        page.goto(f"{url}/dags/{DAG}/runs/{run}")
        page.get_by_text("order_totals").first.wait_for()
        save(page, "airflow-run")

        page.goto(f"{url}/dags/{DAG}/runs/{run}/tasks/order_totals")
        page.get_by_text("Exported files").or_(page.get_by_text("copy: done")).first.wait_for()
        save(page, "airflow-task")

        page.goto(f"{url}/assets")
        page.get_by_text("order_totals_export").first.click()
        page.get_by_text(re.compile("sentinel|order_totals_export")).first.wait_for()
        save(page, "airflow-asset")
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
    """Start Airflow, take the pictures, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="the Python with mz-orchestration")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="airflow-pictures-") as folder:
        command = ["-m", "mz_orchestration.cli", "local", "airflow", "--dir", f"{folder}/stack", "--port-base", "0"]
        airflow = subprocess.Popen([arguments.python, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert airflow.stdout is not None
            url = next((found[0] for line in airflow.stdout if (found := re.search(r"http://\S+", line))), None)
            if url is None:
                raise SystemExit("Airflow did not start")
            take(url, arguments.chromium, Api(url).finish_run())
        finally:
            airflow.send_signal(signal.SIGINT)
            airflow.wait(120)


if __name__ == "__main__":
    main()
