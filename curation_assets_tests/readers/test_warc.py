"""WARC files: what is a page, in which encoding, and what a broken record costs."""

import gzip
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.readers import Source, files, read

HTTP = b"Content-Type: application/http; msgtype=response\r\n"


def record(block, kind=b"response", more=HTTP, *, length=None, uri=b"https://a.example/page"):
    head = b"WARC/1.0\r\nWARC-Type: %b\r\nWARC-Record-ID: <urn:uuid:7>\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n" % kind
    head += b"WARC-Target-URI: %b\r\n%bContent-Length: %d\r\n\r\n" % (
        uri,
        more,
        len(block) if length is None else length,
    )
    return head + block + b"\r\n\r\n"


def response(body, content_type=b"text/html; charset=utf-8", status=b"200 OK", more=b""):
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%b\r\n%b" % (status, content_type, more, body)


PAGE = "<!DOCTYPE html><html><body><p>Café 한국어</p></body></html>"
GOOD = record(response(PAGE.encode()))


def ingest(tmp_path, data, name="crawl.warc", **options):
    (tmp_path / name).write_bytes(data)
    source = Source("crawl", str(tmp_path / name), **options)
    [batch] = read(source, files(source)[0])
    return batch


def test_a_page_keeps_its_address_time_and_place(tmp_path):
    plain = record(response(b"Plain words.", b"text/plain"))
    batch = ingest(tmp_path, record(b"software: x\r\n", b"warcinfo", b"") + GOOD + plain)
    first, second = batch.records.to_pylist()
    assert (first["text"], first["kind"], first["source_record_id"]) == (PAGE, "html", "https://a.example/page")
    assert (first["record_time"], first["source_row"], first["has_owner_id"]) == ("2024-01-02T03:04:05Z", 2, True)
    assert (second["text"], second["kind"]) == ("Plain words.", "document")
    assert any("1 warcinfo" in note for note in batch.notes)


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: b"".join(map(gzip.compress, (data, data)))])
def test_compressed_whole_or_record_by_record(tmp_path, compress):
    batch = ingest(tmp_path, compress(GOOD), "crawl.warc.gz")
    assert set(batch.records["text"].to_pylist()) == {PAGE}
    assert not len(batch.rejects)


@pytest.mark.parametrize(
    "block",
    [
        response(PAGE.encode("euc-kr", "ignore"), b"text/html; charset=euc-kr"),
        response(b"<html><meta charset='euc-kr'>" + "한국어".encode("euc-kr"), b"text/html"),
        response(gzip.compress(PAGE.encode()), more=b"Content-Encoding: gzip\r\n"),
        response(PAGE.encode(), more=b"Content-Encoding: gzip\r\n"),  # undone by the crawler, which kept the header
        response(b"3\r\n<p>\r\n9\r\n" + "한국어".encode() + b"\r\n0\r\n\r\n", more=b"Transfer-Encoding: chunked\r\n"),
        response(b"\xef\xbb\xbf<p>" + "한국어".encode(), b"text/html; charset=latin-1"),
        response("<p>한국어, 똠방각하 펲시".encode("cp949"), b"text/html; charset=euc-kr"),
        response("<p>①②㈱ 日本語 髙橋</p>한국어".encode(), b"text/html; charset=shift_jis"),
        response(b"<html><meta charset='utf-16'>" + "<p>한국어  ".encode(), b"text/html"),
        response("<p>한국어 ".encode() * 60 + b"\xff</p>"),
    ],
    ids=[
        *("header", "meta", "gzip", "gzip undone", "chunked", "byte order mark"),
        *("beyond EUC-KR", "not Shift JIS", "a meta element says UTF-16", "one byte amiss"),
    ],
)
def test_the_payload_is_read_in_its_own_encoding(tmp_path, block):
    assert "한국어" in ingest(tmp_path, record(block)).records["text"][0].as_py()


def test_a_conversion_to_text_is_a_document(tmp_path):
    wet = record(b"The words of a page.", b"conversion", b"Content-Type: text/plain\r\n")
    batch = ingest(tmp_path, gzip.compress(wet), "crawl.warc.wet.gz")
    assert batch.records["text"].to_pylist() == ["The words of a page."]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (record(response(b"gone", status=b"404 Not Found")), "1 of status 404"),
        (record(response(b"\x89PNG", b"image/png")), "1 of type image/png"),
        (record(b"GET / HTTP/1.1\r\n\r\n", b"request"), "1 request"),
        (
            record(b"20240102\na.example. 300 IN A 192.0.2.1\n", more=b"Content-Type: text/dns\r\n"),
            "1 of type text/dns",
        ),
        (record(response(b"\x89PNG", b"image/png"), more=HTTP + b"WARC-Truncated: length\r\n"), "1 of type image/png"),
    ],
)
def test_what_is_no_page_is_passed_over_and_counted(tmp_path, other, told):
    batch = ingest(tmp_path, other + GOOD)
    assert len(batch.records) == 1
    assert not len(batch.rejects)
    assert any(told in note for note in batch.notes)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"garbage\r\nmore of it\r\n", "does not begin as a WARC record"),
        (GOOD.replace(b"Content-Length: ", b"Content-Length: x"), "not a number"),
        (record(response(b"words"), length=20), "does not lead to its end"),
        (record(response(b"words"), length=100_000), "does not lead to its end"),
        (record(response(b"not \0 gzip", more=b"Content-Encoding: gzip\r\n")), "cannot be decompressed"),
        (record(b"no response at all"), "no HTTP response"),
        (record(response(b"x" * 200_000)), "over max_record_bytes"),
        (
            record(response(gzip.compress(b"x" * 20_000_000), more=b"Content-Encoding: gzip\r\n")),
            "decompressed, is over",
        ),
        (record(response(b"\0nul", b"text/plain")), "NUL"),
    ],
)
def test_a_broken_record_is_refused_with_its_place_and_the_rest_goes_on(tmp_path, broken, why):
    batch = ingest(tmp_path, GOOD + broken + GOOD, max_record_bytes=150_000)
    assert batch.records["text"].to_pylist() == [PAGE, PAGE]
    [reject] = batch.rejects.to_pylist()
    assert reject["source_row"] == 2
    assert why in reject["reason"]


def chunked(body):
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "block",
    [
        response(PAGE.encode()[:-20]),
        response(gzip.compress(PAGE.encode())[:-20], more=b"Content-Encoding: gzip\r\n"),
        response(chunked(PAGE.encode())[:-20], more=b"Transfer-Encoding: chunked\r\n"),
    ],
    ids=["plain", "gzip", "chunked"],
)
def test_a_page_that_the_crawler_cut_off_is_refused_however_it_was_sent(tmp_path, block):
    batch = ingest(tmp_path, record(block, more=HTTP + b"WARC-Truncated: length\r\n") + GOOD)
    assert batch.records["text"].to_pylist() == [PAGE]
    assert "WARC-Truncated: length" in batch.rejects["reason"][0].as_py()


@pytest.mark.parametrize("cut", [8, 20, 60])
@pytest.mark.parametrize(
    ("body", "header"),
    [
        (gzip.compress(PAGE.encode() + bytes(range(32, 127))), b"Content-Encoding: gzip\r\n"),
        (zlib.compress(PAGE.encode() + bytes(range(32, 127))), b"Content-Encoding: deflate\r\n"),
        (chunked(PAGE.encode()), b"Transfer-Encoding: chunked\r\n"),
        (chunked(gzip.compress(PAGE.encode() * 2)), b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
    ],
    ids=["gzip", "deflate", "chunked", "both"],
)
def test_a_page_that_breaks_off_unsaid_is_no_short_page(tmp_path, body, header, cut):
    whole, broken = (record(response(sent, more=header)) for sent in (body, body[:-cut]))
    batch = ingest(tmp_path, whole + broken + GOOD)
    assert [text[: len(PAGE)] for text in batch.records["text"].to_pylist()] == [PAGE, PAGE]
    [reject] = batch.rejects.to_pylist()
    assert reject["source_row"] == 2
    assert re.search("breaks off|cannot be decompressed", reject["reason"])


def test_what_does_not_fit_the_stated_charset_is_bounded():
    from curation_assets.readers.warc import decoded

    said = "日本語のページです。①②㈱ 髙橋"
    assert decoded(said.encode("cp932"), "shift_jis", is_html=False) == (said, "cp932")
    curly = ("It\u2019s the caf\u00e9\u2019s menu. " * 3 + "a" * 600).encode("cp1252")
    assert decoded(curly, "utf-8", is_html=False)[1] == "cp1252"  # few bytes do not fit, but none beyond ASCII does
    assert decoded("é".encode() * 199 + b"\xff", "utf-8", is_html=False)[0].count("\ufffd") == 1
    with pytest.raises(ValueError, match="not valid utf-8"):
        decoded("é".encode() * 9 + b"\xff", "utf-8", is_html=False)


def test_a_file_that_is_cut_off_says_where(tmp_path):
    batch = ingest(tmp_path, GOOD + GOOD[:-30])
    assert batch.records["text"].to_pylist() == [PAGE]
    [reject] = batch.rejects.to_pylist()
    assert (reject["source_row"], "cut off" in reject["reason"]) == (2, True)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_break_the_reader(junk, size):
    from curation_assets.readers import warc
    from curation_assets.readers.files import BrokenOff

    data = GOOD + junk + GOOD
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    read_rows = []
    try:
        for found in warc.pages("crawl.warc", pieces, 10_000, []):
            read_rows.append(
                found[0] if isinstance(found, tuple) and not hasattr(found, "reason") else found.source_row
            )
    except BrokenOff as error:
        read_rows.append(error.row)
    assert read_rows[0] == 1
    assert read_rows == sorted(read_rows)


def test_a_real_crawl(shared_data):
    source = Source("crawl", str(shared_data / "web_crawl" / "sample-0000.warc.gz"))
    [batch] = read(source, files(source)[0])
    assert len(batch.records) == 22
    assert not len(batch.rejects)
    assert set(batch.records["kind"].to_pylist()) == {"html"}
    assert all(uri.startswith("https://") for uri in batch.records["source_record_id"].to_pylist())
