#!/usr/bin/env bash
# Generated ACL rules, and what they allow of two hundred calls each: the same as redis-server.
#
#   tests/acl_matrix.sh                250 users of seed 1
#   ACL_SEEDS="1 2 3 4" ACL_USERS=1000 tests/acl_matrix.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/scratch.sh

start_redis
start_service EMPTYSERVER_WORKERS=2 EMPTYSERVER_DEBUG_COMMANDS=yes
for seed in ${ACL_SEEDS:-1}; do
    timeout 600 python3 tests/tools/acl_matrix.py "127.0.0.1:$redis_port" "$service_address" --seed "$seed" --users "${ACL_USERS:-250}" || complain "other rights than redis-server gives"
done
stop_service
