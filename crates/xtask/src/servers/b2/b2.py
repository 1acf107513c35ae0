"""A B2 server on loopback: HTTP in front of Backblaze's own simulator (b2sdk's RawSimulator).

What B2 means by a call is the simulator's business. Here is what it leaves out because it is no server:
the wire (paths of b2api v1 to v4, headers, JSON errors, ranges), tokens that are opaque, and checks of keys
that the simulator does not make. Tests order failures through `/admin/...`, which needs no key.

    POST /admin/fail    {"bucket" or "keyId", "operation", "status", "code", "message", "retryAfter", "mode", "times"}
                        operation: upload, part, download or a b2_... name
                        mode: answer (default), cut (close before acting), lost (act, then close)
    POST /admin/expire  {"keyId"} or {"uploads": bucket name}
    POST /admin/age     {"fileId", "millis"}: the version is that much older
    GET  /admin/values  keys and names that were made at the start
"""

import argparse
import base64
import hashlib
import io
import json
import re
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from b2sdk._internal import exception as failures
from b2sdk._internal.file_lock import FileRetentionSetting, RetentionMode

from b2_state import Closed, Refused, Server

LOCK = threading.RLock()
SERVER = Server()


def flat_authorization(answer, version):
    """The shapes that authorizations had before v4, which alone knows keys for several buckets."""
    storage = answer["apiInfo"]["storageApi"]
    allowed = storage["allowed"]
    bucket = (allowed["buckets"] or [{"id": None, "name": None}])[0]
    limits = {"bucketId": bucket["id"], "bucketName": bucket["name"], "namePrefix": allowed["namePrefix"]}
    if version == 3:
        kept = {name: value for name, value in storage.items() if name != "allowed"}
        answer["apiInfo"]["storageApi"] = dict(kept, **limits)
        return answer
    flat = {name: value for name, value in answer.items() if name != "apiInfo"}
    names = ["apiUrl", "downloadUrl", "s3ApiUrl", "recommendedPartSize", "absoluteMinimumPartSize"]
    flat.update({name: storage[name] for name in names}, minimumPartSize=storage["recommendedPartSize"])
    flat["allowed"] = dict(limits, capabilities=allowed["capabilities"])
    return flat


class Calls:
    """The b2_... calls. Each gets the simulator's token, the parameters and the address clients use."""

    def __init__(self, inner, key_id, wish, base, version):
        self.token, self.key_id, self.wish, self.base, self.version = inner, key_id, wish, base, version
        self.simulator = SERVER.simulator
        self.api = self.simulator.API_URL

    def create_bucket(self):
        wish = self.wish
        return self.simulator.create_bucket(
            self.api, self.token, wish["accountId"], wish["bucketName"], wish["bucketType"],
            lifecycle_rules=wish.get("lifecycleRules"), is_file_lock_enabled=wish.get("fileLockEnabled"),
        )

    def list_buckets(self):
        wish = self.wish
        return self.simulator.list_buckets(
            self.api, self.token, wish["accountId"], wish.get("bucketId"), wish.get("bucketName")
        )

    def delete_bucket(self):
        bucket = self.simulator.bucket_id_to_bucket.get(self.wish["bucketId"])
        if bucket and bucket.file_id_to_file:
            raise Refused(400, "cannot_delete_non_empty_bucket", "the bucket is not empty")
        return self.simulator.delete_bucket(self.api, self.token, self.wish["accountId"], self.wish["bucketId"])

    def create_key(self):
        wish = self.wish
        buckets = wish.get("bucketIds") or ([wish["bucketId"]] if wish.get("bucketId") else None)
        made = SERVER.create_key(
            self.token, wish["capabilities"], wish["keyName"], buckets, wish.get("namePrefix"),
            wish.get("validDurationInSeconds"),
        )
        return made if self.version >= 4 else dict(made, bucketId=(buckets or [None])[0])

    def delete_key(self):
        return self.simulator.delete_key(self.api, self.token, self.wish["applicationKeyId"])

    def get_upload_url(self):
        answer = self.simulator.get_upload_url(self.api, self.token, self.wish["bucketId"])
        return SERVER.offer_upload(answer, self.key_id, self.base)

    def get_upload_part_url(self):
        answer = self.simulator.get_upload_part_url(self.api, self.token, self.wish["fileId"])
        return SERVER.offer_upload(answer, self.key_id, self.base)

    def start_large_file(self):
        wish = self.wish
        return self.simulator.start_large_file(
            self.api, self.token, wish["bucketId"], wish["fileName"], wish["contentType"], wish.get("fileInfo") or {}
        )

    def finish_large_file(self):
        wish = self.wish
        return self.simulator.finish_large_file(self.api, self.token, wish["fileId"], wish["partSha1Array"])

    def cancel_large_file(self):
        return self.simulator.cancel_large_file(self.api, self.token, self.wish["fileId"])

    def list_parts(self):
        wish = self.wish
        return self.simulator.list_parts(
            self.api, self.token, wish["fileId"], wish.get("startPartNumber"), wish.get("maxPartCount")
        )

    def list_unfinished_large_files(self):
        wish = self.wish
        return self.simulator.list_unfinished_large_files(
            self.api, self.token, wish["bucketId"], wish.get("startFileId"), wish.get("maxFileCount"),
            wish.get("namePrefix"),
        )

    def list_file_names(self):
        wish = self.wish
        return self.listing(
            lambda start, count: self.simulator.list_file_names(
                self.api, self.token, wish["bucketId"], start, count, wish.get("prefix")
            )
        )

    def list_file_versions(self):
        wish = self.wish
        return self.listing(
            lambda start, count: self.simulator.list_file_versions(
                self.api, self.token, wish["bucketId"], start, wish.get("startFileId"), count, wish.get("prefix")
            )
        )

    def listing(self, page):
        """The simulator finds nothing below a prefix unless it starts there, and knows no delimiter."""
        wish = self.wish
        prefix, delimiter = wish.get("prefix") or "", wish.get("delimiter")
        start = max(wish.get("startFileName") or "", prefix) or None
        if start and not start.startswith(prefix):
            return {"files": [], "nextFileName": None, "nextFileId": None}
        count = int(wish.get("maxFileCount") or 100)
        if not delimiter:
            return page(start, count)
        answer = page(start, 10**9)
        shown, folders = [], set()
        for one in answer["files"]:
            rest = one["fileName"][len(prefix):]
            folder = prefix + rest.split(delimiter)[0] + delimiter
            if delimiter not in rest:
                shown.append(one)
            elif folder not in folders:
                folders.add(folder)
                shown.append({"action": "folder", "fileName": folder, "fileId": None, "contentLength": 0})
        return {"files": shown, "nextFileName": None, "nextFileId": None}

    def hide_file(self):
        wish = self.wish
        names = self.simulator.list_file_names(
            self.api, self.token, wish["bucketId"], wish["fileName"], 1, wish["fileName"]
        )["files"]
        if not names or names[0]["fileName"] != wish["fileName"]:
            raise Refused(400, "no_such_file", "there is no file of this name")
        return self.simulator.hide_file(self.api, self.token, wish["bucketId"], wish["fileName"])

    def get_file_info(self):
        try:
            return self.simulator.get_file_info_by_id(self.api, self.token, self.wish["fileId"])
        except KeyError as error:
            raise Refused(404, "not_found", "there is no file of this id") from error

    def delete_file_version(self):
        wish = self.wish
        return self.simulator.delete_file_version(
            self.api, self.token, wish["fileId"], wish["fileName"], bool(wish.get("bypassGovernance"))
        )

    def update_file_retention(self):
        wish = self.wish
        until = wish["fileRetention"]["retainUntilTimestamp"]
        setting = FileRetentionSetting(RetentionMode(wish["fileRetention"]["mode"]), until)
        return self.simulator.update_file_retention(
            self.api, self.token, wish["fileId"], wish["fileName"], setting, bool(wish.get("bypassGovernance"))
        )


def translated(error):
    """An exception of the simulator as B2's answer."""
    if isinstance(error, failures.InvalidAuthToken):
        code = "expired_auth_token" if error.code == "auth_token_expired" else error.code
        return Refused(401, code, error.message)
    for kind, status, code in [
        (failures.Unauthorized, 401, "unauthorized"),
        (failures.AccessDenied, 403, "access_denied"),
        (failures.NonExistentBucket, 400, "bad_bucket_id"),
        (failures.DuplicateBucketName, 400, "duplicate_bucket_name"),
        (failures.FileNotPresent, 400, "file_not_present"),
        (failures.BadJson, 400, "bad_json"),
        (failures.MissingPart, 400, "missing_part"),
        (failures.FileSha1Mismatch, 400, "bad_request"),
        (failures.PartSha1Mismatch, 400, "bad_request"),
    ]:
        if isinstance(error, kind):
            return Refused(status, code, str(error) or code)
    return Refused(400, "bad_request", f"{type(error).__name__}: {error}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    scheme, name = "http", "127.0.0.1"

    def base(self):
        """The address that clients go on with: that of this port, or Backblaze's where it leads here."""
        host = self.headers.get("Host", "")
        if not host.split(":")[0].endswith(".backblazeb2.com"):
            host = f"{self.name}:{self.server.server_port}"
        return f"{self.scheme}://{host}"

    def do_GET(self):
        self.handle_call(b"")

    def do_HEAD(self):
        self.handle_call(b"")

    def do_POST(self):
        length = self.headers.get("Content-Length")
        if length is None:
            self.close_connection = True
            return self.answer(411, {"status": 411, "code": "bad_request", "message": "Content-Length is missing"})
        self.handle_call(self.rfile.read(int(length)))

    def handle_call(self, body):
        path, _, query = self.path.partition("?")
        parameters = dict(urllib.parse.parse_qsl(query))
        try:
            if path.startswith("/admin/"):
                self.answer(200, self.administer(path, body))
            elif path.startswith("/file/"):
                self.download(path, None, parameters)
            elif path.startswith("/upload/"):
                self.upload(path, body)
            elif found := re.fullmatch(r"/b2api/v([1-4])/b2_(\w+)", path):
                wish = json.loads(body) if body else parameters
                wish = {name: value for name, value in wish.items() if value not in ("", None)}
                version, name = int(found[1]), found[2]
                if name == "authorize_account":
                    self.answer(200, self.authorize(version))
                elif name == "download_file_by_id":
                    self.download(None, wish["fileId"], parameters)
                else:
                    self.answer(200, self.call(version, name, wish))
            else:
                raise Refused(404, "not_found", "there is nothing here")
        except Closed:
            self.close_connection = True
        except Refused as refused:
            self.refuse(refused)
        except Exception as error:  # noqa: BLE001 - the simulator asserts what B2 refuses
            self.refuse(translated(error))

    def refuse(self, refused):
        headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
        body = {"status": refused.status, "code": refused.code, "message": refused.message}
        self.answer(refused.status, body, headers)

    def answer(self, status, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body, default=list).encode()
        headers = dict(headers or {})
        headers.setdefault("Content-Length", str(len(data)))
        headers.setdefault("Content-Type", "application/json;charset=UTF-8")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        # With the head in one packet.
        self._headers_buffer.append(b"\r\n" + (b"" if self.command == "HEAD" else data))
        self.flush_headers()

    def administer(self, path, body):
        wish = json.loads(body) if body else {}
        with LOCK:
            if path == "/admin/values":
                return SERVER.values
            if path == "/admin/fail":
                SERVER.order(wish)
            elif path == "/admin/expire":
                SERVER.expire(wish)
            elif path == "/admin/age":
                SERVER.age(wish)
            else:
                raise Refused(404, "not_found", "there is nothing here")
        return {}

    def authorize(self, version):
        try:
            kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
            key_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        except ValueError as error:
            raise Refused(401, "unauthorized", "the authorization is malformed") from error
        if kind.lower() != "basic":
            raise Refused(401, "unauthorized", "the authorization is not basic")
        with LOCK:
            if SERVER.trouble("b2_authorize_account", key_id):
                raise Closed
            # Written anew: the simulator's answer shares its lists with the key.
            answer = json.loads(json.dumps(SERVER.authorize(key_id, secret)))
        storage = answer["apiInfo"]["storageApi"]
        storage.update(apiUrl=self.base(), downloadUrl=self.base(), s3ApiUrl=self.base())
        return answer if version == 4 else flat_authorization(answer, version)

    def call(self, version, name, wish):
        with LOCK:
            inner, key_id = SERVER.identify(self.headers.get("Authorization"))
            simulator = SERVER.simulator
            bucket_id = wish.get("bucketId") or simulator.file_id_to_bucket_id.get(wish.get("fileId"))
            is_lost = SERVER.trouble(f"b2_{name}", SERVER.bucket_name(bucket_id), key_id)
            calls = Calls(inner, key_id, wish, self.base(), version)
            if name.startswith("_") or not hasattr(Calls, name):
                raise Refused(404, "not_found", "there is no such call")
            if wish.get("fileId") and name in ("cancel_large_file", "get_upload_part_url", "finish_large_file"):
                if bucket_id is None or wish["fileId"] not in simulator.bucket_id_to_bucket[bucket_id].file_id_to_file:
                    raise Refused(400, "bad_request", "there is no unfinished file of this id")
            simulator.bucket_of_call = bucket_id
            is_listing = name.startswith("list_") and name not in ("list_buckets", "list_parts")
            named = wish.get("prefix") or wish.get("namePrefix") or ""
            simulator.name_of_call = named if is_listing else wish.get("fileName")
            try:
                answer = getattr(calls, name)()
            finally:
                simulator.bucket_of_call = simulator.name_of_call = None
            if is_lost:
                raise Closed
        for one in answer.get("files", [answer]):
            if "contentLength" in one:
                # The name of old versions of the interface.
                one["size"] = one["contentLength"]
        return answer

    def upload(self, path, body):
        with LOCK:
            upload = SERVER.uploads.get(path.rsplit("/", 1)[1])
            if upload is None or self.headers.get("Authorization") != upload["token"]:
                raise Refused(401, "bad_auth_token", "this is not the token of this address")
            if upload["is_expired"]:
                raise Refused(401, "expired_auth_token", "the token of this address has expired")
            if upload["is_busy"]:
                raise Refused(400, "auth_token_limit", "more than one upload using auth token")
            upload["is_busy"] = True
        try:
            is_part = path.startswith("/upload/part/")
            with LOCK:
                is_lost = SERVER.trouble("part" if is_part else "upload", upload["bucket"], upload["key"])
                answer = self.upload_part(upload, body) if is_part else self.upload_file(upload, body)
        finally:
            # Before the answer, after which the client may come at once.
            upload["is_busy"] = False
        if is_lost:
            raise Closed
        self.answer(200, dict(answer, size=answer["contentLength"]))

    def digest(self, body):
        """The simulator wants a real digest."""
        given = self.headers["X-Bz-Content-Sha1"]
        if given in ("do_not_verify", None):
            return hashlib.sha1(body).hexdigest()
        if given != "hex_digits_at_end" and given != hashlib.sha1(body).hexdigest():
            raise Refused(400, "bad_request", "Sha1 did not match data received")
        return given

    def upload_file(self, upload, body):
        name = urllib.parse.unquote(self.headers["X-Bz-File-Name"])
        key = SERVER.simulator.key_id_to_key.get(upload["key"])
        if key is None or not name.startswith(key.name_prefix_or_none or ""):
            raise Refused(401, "unauthorized", "the key is not for this name")
        infos = {
            header[len("x-bz-info-"):].lower(): urllib.parse.unquote(value)
            for header, value in self.headers.items()
            if header.lower().startswith("x-bz-info-")
        }
        return SERVER.simulator.upload_file(
            upload["address"], upload["address"], name, len(body), self.headers["Content-Type"],
            self.digest(body), infos, io.BytesIO(body),
        )

    def upload_part(self, upload, body):
        number = int(self.headers["X-Bz-Part-Number"])
        return SERVER.simulator.upload_part(
            upload["address"], upload["address"], number, len(body), self.digest(body), io.BytesIO(body)
        )

    def download(self, path, file_id, parameters):
        with LOCK:
            inner, key_id = SERVER.identify(self.headers.get("Authorization") or parameters.get("Authorization"))
            file, name, bucket_name = self.find(path, file_id)
            is_lost = SERVER.trouble("download", bucket_name, key_id)
            bucket = SERVER.simulator.bucket_name_to_bucket.get(bucket_name)
            SERVER.simulator._assert_account_auth(
                SERVER.simulator.API_URL, inner, SERVER.account, "readFiles", bucket and bucket.bucket_id, name
            )
            if bucket is None:
                raise Refused(404, "not_found", f"Bucket does not exist: {bucket_name}")
            if file is None:
                raise Refused(404, "not_found", "File with such name does not exist.")
            data, headers = file.data_bytes, dict(file.as_download_headers(inner))
        if is_lost:
            raise Closed
        status, part = 200, data
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            if start >= len(data):
                raise Refused(416, "range_not_satisfiable", "The range is outside of the file")
            status, part = 206, data[start : end + 1]
            headers["content-range"] = f"bytes {start}-{end}/{len(data)}"
        headers["content-length"] = str(len(part))
        titled = {"-".join(word.title() for word in name.split("-")): value for name, value in headers.items()}
        self.answer(status, part, {name: value or "none" for name, value in titled.items()})

    def find(self, path, file_id):
        """The newest visible version of the name, or the one with this id; its name; its bucket's name."""
        simulator = SERVER.simulator
        if file_id is not None:
            bucket = simulator.bucket_id_to_bucket.get(simulator.file_id_to_bucket_id.get(file_id))
            file = bucket and bucket.file_id_to_file.get(file_id)
            return file, file and file.name, bucket and bucket.bucket_name
        _, _, bucket_name, encoded = path.split("/", 3)
        name = urllib.parse.unquote(encoded)
        bucket = simulator.bucket_name_to_bucket.get(bucket_name)
        files = bucket.file_name_and_id_to_file if bucket else {}
        versions = [file for (one, _), file in sorted(files.items()) if one == name and file.action != "start"]
        return (versions[0] if versions and versions[0].is_visible() else None), name, bucket_name

    def log_message(self, format, *arguments):
        pass


class TlsHandler(Handler):
    scheme, name = "https", "localhost"


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--https", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    plain = Listener(("127.0.0.1", options.http), Handler)
    over_tls = Listener(("127.0.0.1", options.https), TlsHandler)
    # The handshake happens in the connection's own thread, with its first read.
    over_tls.socket = context.wrap_socket(over_tls.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    over_tls.serve_forever()


if __name__ == "__main__":
    main()
