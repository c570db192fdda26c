"""The labelling page as a rater and as an attacker meet it: the real server, asked over HTTP and driven in a real browser."""

import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from small_label_queue import TEXTS, labelled_queue, queue

from curation_assets.labelling import journal
from curation_assets.warehouse import Warehouse

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    """A database with a task for two raters an item and twelve queued items, three pairs among them."""
    folder = tmp_path_factory.mktemp("queued")
    warehouse = Warehouse(database=str(folder / "curation.duckdb"))
    items, records = labelled_queue(warehouse, folder)
    return warehouse.path, items, records


@pytest.fixture
def database(queued, tmp_path) -> Warehouse:
    found = Warehouse(database=str(tmp_path / "labels.duckdb"))
    shutil.copy(queued[0], found.path)
    return found


class Server:
    """`curate label` in a process of its own."""

    def __init__(self, warehouse: Warehouse, *options: str) -> None:
        command = [sys.executable, "-m", "curation_assets.cli", "label", "--database", str(warehouse.path), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        printed = iter(self.process.stdout.readline, "")
        self.link = next(line.strip() for line in printed if line.strip().startswith("http://"))
        self.origin = self.link.split("/?")[0]
        self.token = parse_qs(urlsplit(self.link).query)["token"][0]

    def rater(self, name: str, mode: str = "label") -> "Rater":
        session = requests.Session()
        entered = session.get(self.link)
        assert entered.status_code == 200
        return Rater(self, session, name, mode)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


class Rater:
    """Somebody in front of the page."""

    def __init__(self, server: Server, session: requests.Session, name: str, mode: str) -> None:
        self.server, self.session, self.name, self.mode = server, session, name, mode
        self.html = ""

    def look(self) -> str:
        answer = self.session.get(f"{self.server.origin}/label", params={"rater": self.name, "mode": self.mode})
        assert answer.status_code == 200, answer.text
        self.html = answer.text
        return self.html

    @property
    def form(self) -> dict[str, str]:
        """The hidden fields of the page's answer form."""
        return {name: unescape(value) for name, value in HIDDEN.findall(self.html)}

    def post(self, path: str, **fields: str) -> requests.Response:
        return self.session.post(f"{self.server.origin}{path}", data=self.form | fields, allow_redirects=False)

    def give(self, **fields: str) -> str:
        """Look, answer, and return the item that was answered."""
        self.look()
        item = self.form.get("item_id", "")
        if item:
            answer = self.post("/answer", **fields)
            assert answer.status_code == 303, answer.text
        return item


@pytest.fixture
def server(database):
    running = Server(database)
    yield running
    running.stop()


def acts(warehouse: Warehouse) -> list[dict]:
    """What the raters did, as it stands in the database once the journal is folded."""
    journal.fold(warehouse)
    if not warehouse.has_table("expert_labels.labels"):
        return []
    return warehouse.query("from expert_labels.labels order by labelled_at").to_dicts()


def test_nobody_gets_in_without_the_token_or_under_another_name(server):
    address = f"{server.origin}/label?rater=eve"
    assert requests.get(address).status_code == 403
    assert requests.get(f"{server.origin}/?token=wrong").status_code == 403
    for host in ("evil.example", "127.0.0.1:8765/files/?"):
        assert requests.get(address, headers={"Host": host}).status_code in (400, 403)
    entered = requests.get(server.link)
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert "default-src 'none'" in entered.headers["content-security-policy"]
    assert "access-control-allow-origin" not in entered.headers


def test_a_form_of_another_site_or_without_its_token_saves_nothing(server, database):
    ann = server.rater("ann")
    ann.look()
    fields = ann.form | {"label": "question"}
    foreign = {"Origin": "http://evil.example"}
    assert ann.session.post(f"{server.origin}/answer", data=fields, headers=foreign).status_code == 403
    assert ann.session.post(f"{server.origin}/answer", data=fields | {"form_token": "guessed"}).status_code == 403
    assert requests.post(f"{server.origin}/answer", data=fields).status_code == 403  # without the cookie
    assert ann.post("/answer", label="no such class").status_code == 409
    assert ann.post("/answer", label="question", item_id="item-of-no-queue").status_code == 409
    assert ann.post("/answer", label="question", act_id="../../etc").status_code == 400
    assert acts(database) == []


def test_what_records_and_guideline_say_is_text(server):
    ann = server.rater("<b>ann</b>")
    pages = []
    while "item_id" in ann.form or not pages:
        pages.append(ann.look())
        if "item_id" in ann.form:
            ann.post("/answer", label="statement")
    assert len(pages) == 13
    everything = "".join(pages)
    assert "<script>document.title" not in everything and "&lt;script&gt;document.title" in everything
    assert 'href="javascript:' not in everything and "<img" not in everything
    assert "<b>whatever</b>" not in everything and "<b>ann</b>" not in everything
    assert "<strong>answer</strong>" in everything  # the guideline is Markdown all the same


def keep(warehouse: Warehouse, positions: tuple[int, ...], *, pairs: bool = True) -> None:
    """Leave only these positions of the queue, without their partners on request."""
    with warehouse.get_connection() as connection:
        connection.execute(
            "delete from label_queue.items where not list_contains($kept, position)", {"kept": list(positions)}
        )
        if not pairs:
            connection.execute("update label_queue.items set partner_record_id = null, distance = null")


def guessed(page: str) -> str | None:
    """The text whose guess and reason a page tells; every guess is 62 %."""
    found = re.search(r"Earlier:</span> “<bdi>(.*?)</bdi>”", page)
    assert bool(found) == ("62%" in page) == ("queued because" in page)
    return unescape(found[1]).rstrip("…") if found else None


def test_the_guess_and_the_reason_are_hidden_until_the_answer_cannot_be_taken_back(database):
    keep(database, (3, 4, 7, 8, 11), pairs=False)
    server = Server(database)
    ann = server.rater("ann")
    shown = [guessed(ann.look())]
    for answer in ({"label": "question"}, {"label": "statement"}, {"answer": "unsure"}, {"label": "statement"}):
        ann.post("/answer", **answer)
        shown.append(guessed(ann.look()))
    assert [one is not None for one in shown] == [False, False, True, True, False]  # the last came after an unsure
    assert shown[2] != shown[3]
    before = len(acts(database))
    ann.post("/undo")
    assert guessed(ann.look()) is None and "disabled" in ann.html  # the unsure before it stands
    ann.post("/undo")
    assert [act["answer"] for act in acts(database)[before:]] == ["undo"]
    ann.post("/answer", label="question")
    ann.look()
    ann.post("/answer", label="question")
    server.stop()
    hidden = Server(database, "--hide-guess")
    ann = hidden.rater("ann")
    for _ in range(3):
        assert guessed(ann.look()) is None
        ann.post("/undo")
    hidden.stop()
    assert [act["answer"] for act in acts(database)[-3:]] == ["undo"] * 3


def test_the_guess_on_a_text_does_not_tell_that_on_its_partner(database, queued):
    keep(database, (1, 2, 3, 4, 7))
    texts = {queued[1][place]: " ".join(TEXTS[place].split()) for place in (0, 1, 2, 3, 6)}
    pair = set(queued[1][:2])
    server = Server(database)
    for name, first in (("ann", {"label": "question"}), ("dee", {"answer": "skip"})):  # both begin with the pair
        rater, given, told = server.rater(name), [], set()
        while True:
            shown = guessed(rater.look())
            item = rater.form.get("item_id", "")
            if shown:
                (of,) = [one for one, text in texts.items() if text.startswith(shown)]
                told.add(of)
                assert of not in (item, given[-1])
                assert of not in pair or not {item, given[-1]} & pair
            if not item:
                break
            rater.post("/answer", **(first if item in pair and not pair & set(given) else {"label": "statement"}))
            given.append(item)
        assert set(given[:2]) == pair and set(given) == set(texts)
        assert told - pair  # and of the pair the second, once a third is answered, unless the first may come again
        assert told & pair == ({given[1]} if "label" in first else set())
    server.stop()


def test_an_answer_is_on_disk_before_the_page_moves_on(database):
    server = Server(database)
    ann = server.rater("ann")
    ann.look()
    item = ann.form["item_id"]
    assert (
        ann.post("/answer", label="question", comment="  hm  ", page_seconds="4.5", hidden_seconds="1").status_code
        == 303
    )
    server.process.kill()
    server.process.wait()
    (act,) = acts(database)
    assert (act["item_id"], act["answer"], act["label"], act["comment"]) == (item, "label", "question", "hm")
    assert act["rater"] == "ann" and act["role"] == "expert" and act["origin"] == "page"
    assert act["guideline_version"] == database.value("select guideline_version from label_task.tasks")
    assert 0 <= act["seconds"] <= 4.5


def test_unsure_skip_undo_and_the_same_form_twice(server, database):
    ann = server.rater("ann")
    first, second = ann.give(answer="unsure"), ann.give(answer="skip")
    assert len({first, second}) == 2
    ann.look()
    third, form = ann.form["item_id"], ann.form
    for _ in range(2):  # a double click
        sent = ann.session.post(f"{server.origin}/answer", data=form | {"label": "question"}, allow_redirects=False)
        assert sent.status_code == 303
    ann.look()
    assert ann.post("/undo").status_code == 303
    assert ann.look() and ann.form["item_id"] == third
    assert [(act["item_id"], act["answer"]) for act in acts(database)] == [
        (first, "unsure"),
        (second, "skip"),
        (third, "label"),
        (third, "undo"),
    ]


def test_every_item_gets_two_raters_and_no_more_even_when_all_answer_at_once(server, database, queued):
    def all_of(name: str) -> list[str]:
        rater, given = server.rater(name), []
        while item := rater.give(label="statement"):
            given.append(item)
        return given

    with ThreadPoolExecutor(3) as raters:
        given = dict(zip("abc", raters.map(all_of, "abc"), strict=True))
    answered = [item for of_rater in given.values() for item in of_rater]
    assert sorted(answered) == sorted([*queued[1], *queued[1]])
    assert all(len(set(of_rater)) == len(of_rater) for of_rater in given.values())
    assert len(acts(database)) == 24


def test_disputes_are_settled_with_all_votes_in_sight(server, database):
    ann, bo = server.rater("ann"), server.rater("bo")
    while ann.give(label="statement", comment="ann's view"):
        pass
    while bo.give(label="question"):
        pass
    cy = server.rater("cy", "adjudicate")
    page = cy.look()
    assert "ann&#39;s view" in page and page.count("<li><bdi>") == 2
    item = cy.give(label="question")
    settled = [act for act in acts(database) if act["role"] == "adjudicator"]
    assert [(act["item_id"], act["label"], act["rater"]) for act in settled] == [(item, "question", "cy")]
    cy.look()
    assert cy.form["item_id"] != item


def test_an_adjudicator_who_passes_is_told_so_and_can_come_back(database):
    keep(database, (3,))
    server = Server(database)
    server.rater("ann").give(label="statement")
    server.rater("bo").give(label="question")
    cy, again = server.rater("cy", "adjudicate"), server.rater("cy", "adjudicate_again")
    passed = cy.give(answer="skip")
    assert "1 item is still disputed, and you have passed over it" in " ".join(cy.look().split())
    assert "mode=adjudicate_again" in cy.html and "Nothing is disputed" not in cy.html
    assert again.give(answer="unsure") == passed  # still undecided, still there
    assert again.give(label="question") == passed
    assert "Nothing is disputed" in again.look() and "Nothing is disputed" in cy.look()
    server.stop()


def test_people_go_on_while_a_run_holds_the_database_and_a_new_round_appears(database, queued):
    _, items, records = queued
    with database.get_connection() as connection:
        connection.execute("delete from label_queue.items where position > 11")
    server = Server(database)
    ann = server.rater("ann")
    with database.get_connection() as connection:  # as a run's transaction: nobody else can open the database
        connection.execute("begin")
        for _ in range(11):
            assert ann.give(label="statement")
        assert "All done for you" in ann.look()
    queue(database, records[11:], round=2)
    for _ in range(1_000):
        if "item_id" in ann.form:
            break
        time.sleep(0.2)
        ann.look()
    assert ann.form["item_id"] == items[11]
    server.stop()
    assert len(acts(database)) == 11


def browser(folder: Path, width: int, height: int):
    """Chromium without a window; skips where there is none."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (found and driver):
        pytest.skip("Chromium and chromedriver are not installed")
    options = selenium.ChromeOptions()
    options.binary_location = found
    for option in ("--headless=new", "--no-sandbox", f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(option)
    return selenium.Chrome(options=options, service=selenium.ChromeService(driver))


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)], ids=["laptop", "phone"])
def test_a_queue_is_labelled_by_keys_alone_in_a_real_browser(server, database, tmp_path, width, height):
    with browser(tmp_path / "profile", width, height) as page:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.wait import WebDriverWait

        wait = WebDriverWait(
            page, 180, ignored_exceptions=[StaleElementReferenceException]
        )  # read while the next page comes
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        page.get(f"{server.link}&rater=ann")
        wait.until(lambda page: page.find_elements(By.ID, "answer"))

        def item() -> str:
            return page.find_element(By.NAME, "item_id").get_attribute("value")

        def press(*keys: str) -> None:
            before = page.find_element(By.NAME, "act_id").get_attribute("value")
            wait.until(lambda page: page.execute_script("return performance.now() - shown") > 260)
            for key in keys:
                page.switch_to.active_element.send_keys(key)
            wait.until(lambda page: page.find_element(By.NAME, "act_id").get_attribute("value") != before)

        if width < 860:  # however short the texts, the buttons are at the lower edge
            bottom = "return document.getElementById('answer').getBoundingClientRect().bottom"
            page.execute_script("for (const one of document.querySelectorAll('.text')) one.textContent = 'short'")
            assert page.execute_script(bottom) == pytest.approx(height, abs=1)
            page.refresh()
            wait.until(lambda page: page.find_elements(By.ID, "answer"))
        first = item()
        assert page.title == "Labelling: questions"  # neither the record's script nor the guideline's ran
        assert page.switch_to.active_element.get_attribute("id") == "item"
        press("2")
        assert page.find_element(By.CLASS_NAME, "previous").text.startswith("Before:")
        second = item()
        press("c", "1 is a comment, not a class", Keys.ESCAPE, "u")
        press("z")
        assert item() == second
        assert page.find_element(By.ID, "comment").get_attribute("value") == "1 is a comment, not a class"
        press("s")
        page.switch_to.active_element.send_keys("?")
        assert page.find_element(By.ID, "keys").is_displayed()
        overflow = page.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0
        page.save_screenshot(str(tmp_path / "page.png"))
        assert not [line for line in page.get_log("browser") if line["level"] == "SEVERE"]
    assert [(act["item_id"], act["answer"]) for act in acts(database)] == [
        (first, "label"),
        (second, "unsure"),
        (second, "undo"),
        (second, "skip"),
    ]
