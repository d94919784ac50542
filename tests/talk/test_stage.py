"""The stage keeps to its folder and to this machine, answers what a page asks, and writes nothing."""

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading

import pytest
import small_talk
from tornado import netutil
from tornado.httpserver import HTTPServer
from tornado.websocket import websocket_connect

from fflib.files import ROOT, InputError
from fflib.talk import live as lives
from fflib.talk import stage

QUESTION = {"lane": 3, "slot": 0, "texts": ["axis: it", "numpy.sum"], "spans": []}


class Served:
    """A stage in a thread of this process."""

    def __init__(self, folder, load=small_talk.SmallCast):
        sockets = netutil.bind_sockets(0, stage.HOST)
        self.port = sockets[0].getsockname()[1]
        self.live = lives.Live(load, 0.2)
        self.loop = asyncio.new_event_loop()

        async def begin():
            application = stage.application(folder, self.live, self.port)
            HTTPServer(application, max_body_size=stage.LARGEST).add_sockets(sockets)

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(begin())
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()

    def ask(self, path, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Host": f"127.0.0.1:{self.port}"} | headers
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        body = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.body = answer.read()
        connection.close()
        return answer

    def ready(self):
        for _ in range(200):
            if self.live.cast or "loading" not in self.live.why_not:
                return self
            threading.Event().wait(0.01)
        raise AssertionError("the models did not load")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    outer = tmp_path_factory.mktemp("run")
    (outer / "secret.txt").write_text("secret")
    inner = small_talk.write_pages(outer / "talk")
    (inner / "index.html").write_text("the deck")
    (inner / "link.txt").symlink_to(outer / "secret.txt")
    (inner / "linked").symlink_to(outer)
    (inner / "own link.txt").symlink_to(inner / "index.html")
    return inner


@pytest.fixture(scope="module")
def served(folder):
    return Served(folder).ready()


def test_files_of_the_folder_are_served_isolated(served):
    answer = served.ask("/")
    assert (answer.status, answer.body) == (200, b"the deck")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert served.ask("/events/race.js").body.startswith(b"window.RECORDINGS")
    assert served.ask("/own%20link.txt").status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/static/../../secret.txt", "//secret.txt"),
        *(
            "/link.txt",
            "/linked/secret.txt",
            "/events/%00",
            "/" + 3000 * "x",
            "/%5c..%5csecret.txt",
            "/../talk2/x",
            "/linked/",
        ),
    ],
)
def test_no_path_leads_out_of_the_folder(served, path):
    answer = served.ask(path)
    assert answer.status in (400, 403, 404) and answer.body != b"secret"


@pytest.mark.parametrize("path", ["/", "/live", "/classify", "/events/race.js", "/nothing"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"])
def test_another_host_is_refused(served, path, host):
    answer = served.ask(path, Host=host.format(port=served.port))
    assert answer.status == 403 and answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_this_machine_by_its_other_name(served):
    assert served.ask("/", Host=f"localhost:{served.port}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_another_site_may_not_ask(served, origin):
    origin = origin.format(port=served.port)
    assert served.ask("/classify", "POST", QUESTION, Origin=origin).status == 403
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "x" * 22 + "=="}
    assert served.ask("/live", Origin=origin, **upgrade).status == 403


def test_the_page_itself_may_ask(served):
    answer = served.ask("/classify", "POST", QUESTION, Origin=f"http://127.0.0.1:{served.port}")
    assert (answer.status, json.loads(answer.body)) == (200, {"label": 0, "ms": 1.5})
    stop = {**QUESTION, "stop": 3}
    del stop["lane"]
    assert json.loads(served.ask("/classify", "POST", stop).body) == {"label": 1, "ms": 2.5}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"1", {}, {"texts": 1}, {"texts": [1, 2]}, {"texts": "ab", "lane": 0},
        {**QUESTION, "lane": 9}, {**QUESTION, "lane": "3"}, {**QUESTION, "lane": -2}, {**QUESTION, "slot": 1.5},
        {**QUESTION, "spans": [[0, 1]]}, {**QUESTION, "spans": [[7, 0, 1]]}, {**QUESTION, "spans": 3},
        {**QUESTION, "texts": ["", "x"]},
    ],
)  # fmt: skip
def test_what_is_no_question_gets_a_sentence(served, body):
    answer = served.ask("/classify", "POST", body)
    assert answer.status == 409 and len(json.loads(answer.body)["why"]) > 10
    assert served.ask("/classify", "POST", QUESTION).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
def test_files_can_only_be_read(served, folder, method):
    before = sorted(folder.rglob("*"))
    assert served.ask("/new.txt", method, b"x").status in (403, 405)
    assert sorted(folder.rglob("*")) == before


def test_too_much_is_not_taken(served):
    try:
        status = served.ask("/classify", "POST", b"x" * (stage.LARGEST + 1)).status
    except (ConnectionError, http.client.HTTPException):
        status = 413  # it hung up before all was sent
    assert status in (400, 413)
    assert served.ask("/").status == 200


def heard(port, *says):
    """Return what the socket of a stage says until it has said that all is over."""

    async def talk():
        page = await websocket_connect(f"ws://127.0.0.1:{port}/live")
        found = [json.loads(await asyncio.wait_for(page.read_message(), 5))]
        for say in says:
            await page.write_message(say)
        while says and found[-1]["is"] not in ("end", "failed"):
            found.append(json.loads(await asyncio.wait_for(page.read_message(), 5)))
        page.close()
        return found

    return asyncio.run(talk())


def test_a_race_is_told_from_its_header_to_its_end(served):
    hello, *rest = heard(served.port, "nonsense", "[]", json.dumps({"do": "race"}))
    assert hello == {"is": "hello", "ready": True, "why": "", "at_once": 2}
    assert [said["is"] for said in rest[:1] + rest[-1:]] == ["log", "end"]
    rows = [row for said in rest[1:-1] for row in said["rows"]]
    assert rows == small_talk.race_rows(small_talk.heats(0.2))
    assert rest[0]["log"]["events"] == [] and len(rest[0]["log"]["lanes"]) == 4


def test_a_page_that_goes_away_ends_its_race(folder):
    served = Served(folder)
    served.ready().live.heat_s = 30.0

    async def go_away():
        page = await websocket_connect(f"ws://127.0.0.1:{served.port}/live")
        await page.write_message(json.dumps({"do": "race"}))
        for _ in range(3):
            await page.read_message()
        page.close()

    asyncio.run(go_away())
    assert served.live.racing.acquire(timeout=5), "the race goes on with nobody watching"


def test_models_that_do_not_load_leave_the_recordings(folder):
    why = "outputs/x/model.onnx is missing"

    def missing():
        raise InputError(why)

    served = Served(folder, missing).ready()
    assert heard(served.port) == [{"is": "hello", "ready": False, "why": why, "at_once": 0}]
    assert served.ask("/classify", "POST", QUESTION).status == 503
    assert served.ask("/").status == 200


def test_models_that_load_after_the_end_are_closed(folder):
    may_load, casts = threading.Event(), []

    def slow():
        may_load.wait(5)
        casts.append(small_talk.SmallCast())
        return casts[0]

    live = lives.Live(slow, 1.0)
    live.close()
    may_load.set()
    for _ in range(200):
        if casts and casts[0].closed:
            return
        threading.Event().wait(0.01)
    raise AssertionError("they run on")


def test_it_listens_on_loopback_alone(folder):
    command = [sys.executable, "-m", "tests.small_talk", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            url = process.stdout.readline().strip()
            port = int(url.rsplit(":", 1)[1].strip("/"))
            assert url == f"http://127.0.0.1:{port}/"
            with socket.create_connection(("127.0.0.1", port), 5):
                pass
            with pytest.raises(OSError):  # another address of this very machine
                socket.create_connection(("127.0.0.2", port), 1)
            with pytest.raises(InputError, match=f"port {port} cannot be used"):
                stage.serve(folder, "", port, load=small_talk.SmallCast)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="there is no folder .*make talk"):
        stage.serve(tmp_path / "talk", "", 0)
    for port in (99999, -1):
        with pytest.raises(InputError, match=f"the port is {port}; give a number"):
            stage.serve(tmp_path, "", port)


def test_rehearsal_of_no_part():
    cast = small_talk.SmallCast()
    cast.run.requests = type("R", (), {"tokens": type("T", (), {"input_ids": ["ab"], "token_type_ids": ["ab"]})})
    assert stage.rehearse(cast, "ladder") < 5 and stage.rehearse(cast, "typing") < 5
    with pytest.raises(InputError, match="no live part 'song'"):
        stage.rehearse(cast, "song")
