"""Writes the rings of a Swift with one device: rings.py FOLDER ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT."""

import sys

from swift.common.ring import RingBuilder

folder, *ports = sys.argv[1:]
account, container, objects = map(int, ports)
for name, port in {"account": account, "container": container, "object": objects, "object-1": objects}.items():
    builder = RingBuilder(4, 1, 0)
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1, "meta": "", **address})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")
