"""The store in a Qdrant server: the real client over HTTP, the server's engine in its local form.

A few lines translate the requests of Qdrant's REST interface to its local mode, which its makers
test to answer as the server does. So what the store sends and reads is what goes over the wire.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_kinds import DIM, EMBEDDER, make, unit

from agemem_eval.baselines.stores import Store, open_store
from agemem_eval.harness.errors import DataError, InfraError

pytestmark = pytest.mark.stores
qdrant_client = pytest.importorskip("qdrant_client", reason="the extra `qdrant` is not installed")


class Handler(BaseHTTPRequestHandler):
    """One request after another; `failing` answers all with a status."""

    engine: Any = None
    failing: int | None = None
    keys: set[str | None] = set()
    indexed: dict[str, Any] = {}
    lock = threading.Lock()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path = self.path.partition("?")[0].strip("/").split("/")
        type(self).keys.add(self.headers.get("api-key"))
        if self.failing is not None:
            return self.send(self.failing, {"status": {"error": "no\nluck"}})
        with self.lock:
            try:
                result = self.work(path[1], "/".join([self.command, *path[2:]]), body)
            except ValueError as error:
                return self.send(404, {"status": {"error": str(error)}})
        return self.send(200, {"result": result, "status": "ok", "time": 0.0})

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def work(self, name: str, request: str, body: Any) -> Any:
        engine, models = self.engine, qdrant_client.models
        found = {k: body[k] for k in ("limit", "with_payload", "with_vector") if k in body}
        more = {"with_vectors" if k == "with_vector" else k: v for k, v in found.items()}
        wanted = models.Filter(**body["filter"]) if body.get("filter") else None
        match request:
            case "PUT":
                return engine.create_collection(
                    name, vectors_config=models.VectorParams(**body["vectors"])
                )
            case "DELETE":
                return engine.delete_collection(name)
            case "GET":
                return json.loads(engine.get_collection(name).model_dump_json())
            case "GET/exists":
                return {"exists": engine.collection_exists(name)}
            case "PUT/index":
                self.indexed[body["field_name"]] = body["field_schema"]
                done = None
            case "PUT/points":
                points = [models.PointStruct(**point) for point in body["points"]]
                done = engine.upsert(name, points=points)
            case "PUT/points/payload":
                done = engine.overwrite_payload(name, body["payload"], points=body["points"])
            case "POST/points/delete":
                selector = body.get("points", wanted)
                done = engine.delete(name, points_selector=selector)
            case "POST/points":
                return dumped(engine.retrieve(name, ids=body["ids"], **more))
            case "POST/points/count":
                return {"count": engine.count(name, count_filter=wanted, exact=True).count}
            case "POST/points/scroll":
                records, offset = engine.scroll(
                    name, scroll_filter=wanted, offset=body.get("offset"), **more
                )
                return {"points": dumped(records), "next_page_offset": offset}
            case "POST/points/query":
                assert body["params"]["exact"] is True
                query = np.array(body["query"]["nearest"], dtype=np.float32)
                answer = engine.query_points(name, query=query, query_filter=wanted, **more)
                return {"points": dumped(answer.points)}
            case other:
                raise AssertionError(other)
        del done
        return {"operation_id": 1, "status": "completed"}


def dumped(values: list[Any]) -> list[Any]:
    return [json.loads(value.model_dump_json(exclude_none=True)) for value in values]


@pytest.fixture
def address(monkeypatch: Any) -> Iterator[str]:
    monkeypatch.setenv("QDRANT_API_KEY", "sesame")
    Handler.engine = qdrant_client.QdrantClient(":memory:")
    Handler.failing, Handler.keys, Handler.indexed = None, set(), {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"qdrant:http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_server_holds_what_sqlite_holds(address: str, tmp_path: Path) -> None:
    def opened() -> Store:
        store = open_store(address, tmp_path, embedder=EMBEDDER, dim=DIM)
        store.open("scope")
        return store

    served, local = opened(), make("sqlite")
    local.open("scope")
    for store in (served, local):
        ids = [
            store.add(f"fact {i} \ud800", unit(i % 30), {"n": i % 3, "b": i % 2 == 1}, f"step {i}")
            for i in range(40)
        ]
        store.update(ids[3], "changed", unit(99), {"n": True, "deep": [1.5, None]}, "step 40")
        store.update(ids[4], "same vector", None, {}, "step 41")
        store.delete(ids[5])
        with pytest.raises(KeyError):
            store.delete(ids[5])
        with pytest.raises(KeyError):
            store.update(ids[5], "x", None, {}, "t")
        assert store.get(ids[5]) is None
    assert len(served) == len(local) == 39
    assert served.entries() == local.entries()
    assert served.get(ids[3]) == local.get(ids[3])
    for wanted in ({}, {"n": 1}, {"n": True}, {"deep": [1.5, None]}, {"b": True, "n": 2}):
        assert served.search(unit(99), 7, wanted) == local.search(unit(99), 7, wanted)
    assert served.snapshot() == local.snapshot()
    snapshot = served.snapshot()
    served.close()
    again = opened()
    assert again.snapshot() == snapshot
    again.restore(b"")
    assert again.entries() == []
    again.restore(snapshot)
    assert again.snapshot() == snapshot
    again.close()
    assert Handler.keys == {"sesame"}
    assert Handler.indexed["place"]["is_tenant"] is True


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_runs_on_one_server_are_kept_apart_and_a_lost_collection_is_refused(
    address: str, tmp_path: Path
) -> None:
    one, two, passing = (
        open_store(address, place, embedder=EMBEDDER, dim=DIM)
        for place in (tmp_path / "one", tmp_path / "two", None)
    )
    for store in (one, two, passing):
        store.add("x", unit(0), {}, "t")
    assert [len(store) for store in (one, two, passing)] == [1, 1, 1]
    assert len(Handler.engine.get_collections().collections) == 3
    for store in (one, two, passing):
        store.close()
    left = [found.name for found in Handler.engine.get_collections().collections]
    assert len(left) == 2  # what has no directory is removed
    for name in left:
        Handler.engine.delete_collection(name)
    with pytest.raises(DataError, match=r"^http://127[^\n]*is lost or was emptied[^\n]*$"):
        open_store(address, tmp_path / "one", embedder=EMBEDDER, dim=DIM)
    assert Handler.engine.get_collections().collections == []


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize(
    ("status", "error"), [(500, InfraError), (503, InfraError), (429, InfraError), (401, DataError)]
)
def test_a_server_that_fails_is_not_the_agents_fault(
    status: int, error: type[Exception], address: str, tmp_path: Path
) -> None:
    store = open_store(address, tmp_path, embedder=EMBEDDER, dim=DIM)
    id_ = store.add("x", unit(0), {}, "t")
    Handler.failing = status
    operations = [
        store.entries,
        store.snapshot,
        lambda: store.open("other"),
        lambda: store.search(unit(0), 1),
        lambda: store.add("y", unit(1), {}, "t"),
        lambda: store.update(id_, "y", None, {}, "t"),
        lambda: store.delete(id_),
        lambda: store.restore(b""),
    ]
    for work in operations:
        with pytest.raises(error, match=r"^http://127[^\n]*$"):
            work()
    Handler.failing = None
    assert [entry.content for entry in store.entries()] == ["x"]
