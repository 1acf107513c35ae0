"""The state of the B2 server: Backblaze's simulator, and what it leaves out because it is no server.

Keys, opaque tokens, upload addresses, and failures that tests order.
"""

import collections
import itertools
import secrets
import time

from b2sdk._internal.raw_simulator import BucketSimulator, RawSimulator


class Refused(Exception):
    """An answer that refuses."""

    def __init__(self, status, code, message="", retry_after=None):
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


class Closed(Exception):
    """The connection ends without an answer."""


def clock():
    """Milliseconds since 1970, never the same twice."""
    last = 0
    while True:
        last = max(last + 1, int(time.time() * 1000))
        yield last


class Bucket(BucketSimulator):
    """Without the simulator's small supply of numbers, and with file ids that no two buckets share."""

    FIRST_FILE_NUMBER = 10**12 - 1
    FIRST_FILE_ID = str(FIRST_FILE_NUMBER)
    IDS = itertools.count(FIRST_FILE_NUMBER, -1)
    TIMES = clock()

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.file_id_counter = self.IDS
        self.upload_timestamp_counter = self.TIMES
        self.upload_url_counter = itertools.count()

    def cancel_large_file(self, file_id):
        if self.file_id_to_file[file_id].action != "start":
            raise Refused(400, "bad_request", "there is no unfinished file of this id")
        return super().cancel_large_file(file_id)


class Simulator(RawSimulator):
    """Checks the limits of a key also where the simulator is not told the bucket or the name."""

    BUCKET_SIMULATOR_CLASS = Bucket

    def __init__(self):
        super().__init__()
        self.bucket_id_counter = itertools.count()
        self.bucket_of_call = None
        self.name_of_call = None

    def _assert_account_auth(self, api_url, token, account, capability, bucket_id=None, file_name=None):
        bucket_id = bucket_id or self.bucket_of_call
        file_name = self.name_of_call if file_name is None else file_name
        super()._assert_account_auth(api_url, token, account, capability, bucket_id, file_name)


class Server:
    """The state behind both ports."""

    def __init__(self):
        self.simulator = Simulator()
        self.account, _ = self.simulator.create_account()
        self.master = "K" + secrets.token_hex(15)
        self.simulator.key_id_to_key[self.account].key = self.master
        # Ours, as clients see them, to the simulator's.
        self.tokens = {}
        self.uploads = {}
        self.ordered = collections.defaultdict(list)
        self.values = {"key_id": self.account, "key": self.master}
        self.make_keys()

    def make_keys(self):
        simulator = self.simulator
        api = simulator.API_URL
        token = simulator.authorize_account("", self.account, self.master)["authorizationToken"]
        bucket = simulator.create_bucket(api, token, self.account, "stash-restricted", "allPrivate")
        everything = ["listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles"]
        kinds = {
            "bucket": (everything, None),
            "prefix": (everything, "allowed/"),
            "no_delete": ([one for one in everything if one != "deleteFiles"], None),
            "read_only": (["listBuckets", "listFiles", "readFiles"], None),
        }
        for kind, (capabilities, prefix) in kinds.items():
            made = self.create_key(token, capabilities, kind.replace("_", "-"), [bucket["bucketId"]], prefix)
            self.values[f"{kind}_key_id"] = made["applicationKeyId"]
            self.values[f"{kind}_key"] = made["applicationKey"]
        self.values["restricted_bucket"] = "stash-restricted"
        self.values["key_prefix"] = "allowed/"

    def create_key(self, token, capabilities, name, buckets, prefix, seconds=None):
        made = self.simulator.create_key(
            self.simulator.API_URL, token, self.account, capabilities, name, seconds, buckets, prefix
        )
        key = self.simulator.key_id_to_key[made["applicationKeyId"]]
        key.key = made["applicationKey"] = "K" + secrets.token_hex(15)
        return made

    def authorize(self, key_id, secret):
        answer = self.simulator.authorize_account("", key_id, secret)
        token = "4_" + secrets.token_urlsafe(40)
        self.tokens[token] = (answer["authorizationToken"], key_id)
        answer["authorizationToken"] = token
        return answer

    def offer_upload(self, answer, key_id, base):
        """Hides the simulator's upload address, which holds its token, behind one of ours."""
        number = secrets.token_hex(12)
        token = "upload_" + secrets.token_urlsafe(40)
        self.uploads[number] = {
            "address": answer["uploadUrl"],
            "token": token,
            "key": key_id,
            "bucket": self.bucket_name(answer["bucketId"]),
            "is_busy": False,
            "is_expired": False,
        }
        part = "/part" if "/part/" in answer["uploadUrl"] else ""
        return dict(answer, uploadUrl=f"{base}/upload{part}/{number}", authorizationToken=token)

    def bucket_name(self, bucket_id):
        bucket = self.simulator.bucket_id_to_bucket.get(bucket_id)
        return bucket and bucket.bucket_name

    def order(self, wish):
        who = wish.get("bucket") or wish["keyId"]
        self.ordered[(who, wish["operation"])].extend([wish] * wish.get("times", 1))

    def trouble(self, operation, *whos):
        """What was ordered for this call, if anything: refuses at once, or says that the answer gets lost."""
        for who in whos:
            waiting = self.ordered.get((who, operation))
            if waiting:
                wish = waiting.pop(0)
                mode = wish.get("mode", "answer")
                if mode == "cut":
                    raise Closed
                if mode == "lost":
                    return True
                raise Refused(
                    wish["status"], wish.get("code", "ordered"), wish.get("message", ""), wish.get("retryAfter")
                )
        return False

    def expire(self, wish):
        if "uploads" in wish:
            for upload in self.uploads.values():
                upload["is_expired"] |= upload["bucket"] == wish["uploads"]
        for inner, key_id in self.tokens.values():
            if key_id == wish.get("keyId"):
                self.simulator.expire_auth_token(inner)

    def age(self, wish):
        bucket_id = self.simulator.file_id_to_bucket_id[wish["fileId"]]
        file = self.simulator.bucket_id_to_bucket[bucket_id].file_id_to_file[wish["fileId"]]
        file.upload_timestamp -= wish["millis"]

    def identify(self, token):
        """The simulator's token and the id of the key."""
        if not token:
            raise Refused(401, "missing_auth_token", "there is no authorization")
        if token not in self.tokens:
            raise Refused(401, "bad_auth_token", "this token is not valid")
        inner, key_id = self.tokens[token]
        if key_id not in self.simulator.key_id_to_key:
            raise Refused(401, "bad_auth_token", "the key of this token is gone")
        if inner in self.simulator.expired_auth_tokens:
            raise Refused(401, "expired_auth_token", "this token has expired")
        return inner, key_id
