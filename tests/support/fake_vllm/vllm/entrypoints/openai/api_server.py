"""Takes vLLM's command line and answers as its server does, beside the tests of the real one.

What it is to do stands in JSON in $FAKE_VLLM: `fail` (print this and end), `deaths` (a file with
the number of starts that shall die at their first call), `slow_s` (before it listens), `load_s`
(of an adapter), `answer_s` (of a call), `refuse_adapter`, `stubborn` (ignores SIGTERM). It has a
child in its group, as vLLM has its engine. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WISH = json.loads(os.environ.get("FAKE_VLLM", "{}"))
ARGUMENTS = sys.argv[1:]
LOADED: set[str] = set()
LOADING = threading.Lock()  # as vLLM's own: of two loads of one name the second waits
CALLS: set[int] = set()  # those being answered


def value(flag: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(flag) + 1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health" or self.allowed():
            self.answer(200, {"data": [{"id": value("--served-model-name")}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path == "/v1/load_lora_adapter":
            self.load(body)
            return
        if self.path == "/v1/unload_lora_adapter":
            print("unloaded", body["lora_name"], flush=True)
            LOADED.discard(body["lora_name"])
            self.answer(200, "Success")
            return
        if "hang" in body:
            time.sleep(3600)
        deaths = Path(WISH["deaths"]) if "deaths" in WISH else None
        if deaths is not None and (left := int(deaths.read_text())) > 0:
            deaths.write_text(str(left - 1))
            print("RuntimeError: the engine core has died", flush=True)
            os._exit(1)
        CALLS.add(threading.get_ident())
        time.sleep(WISH.get("answer_s", 0))
        said = {"pid": os.getpid(), "model": body["model"], "arguments": ARGUMENTS}
        said["calls"] = len(CALLS)
        CALLS.discard(threading.get_ident())
        self.answer(
            200,
            {
                "choices": [{"message": {"content": json.dumps(said)}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 5},
            },
        )

    def load(self, body: dict[str, str]) -> None:
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True":
            self.answer(404, {"detail": "Not Found"})
        elif WISH.get("refuse_adapter"):
            self.answer(500, {"error": {"message": "shapes differ"}})
        else:
            self.load_once(body["lora_name"])

    def load_once(self, name: str) -> None:
        with LOADING:
            if name in LOADED:
                problem = f"The lora adapter '{name}' has already been loaded. If you want to …"
                self.answer(400, {"error": {"message": problem}})
                return
            print("loading", name, flush=True)
            time.sleep(WISH.get("load_s", 0))
            LOADED.add(name)
            print("loaded", name, flush=True)
        self.answer(200, "Success")

    def allowed(self) -> bool:
        allowed = self.headers["Authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"
        if not allowed:
            self.answer(401, {"error": "Unauthorized"})
        return allowed

    def answer(self, status: int, value: object) -> None:
        content = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    if "fail" in WISH:
        print(WISH["fail"], flush=True)
        sys.exit(1)
    if WISH.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(3600)"])
    print("engine", child.pid, "server", os.getpid(), flush=True)
    time.sleep(WISH.get("slow_s", 0))
    ThreadingHTTPServer((value("--host"), int(value("--port"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
