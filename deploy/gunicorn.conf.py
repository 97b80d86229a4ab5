"""gunicorn -c deploy/gunicorn.conf.py wsgi:app"""

import os

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
worker_class = "gthread"
threads = 4
timeout = 30
graceful_timeout = 25
keepalive = 75  # longer than nginx keeps its idle connections, or it sends into a closed one
limit_request_line = 8190  # RFC 9112, 3: at least 8,000; as nginx has it
forwarded_allow_ips = ""  # the application alone decides what it believes, by TRUSTED_PROXIES
max_requests = 100_000
max_requests_jitter = 10_000
control_socket_disable = True  # it needs a writable HOME
memory = "/dev/shm"  # noqa: S108  # a worker's heartbeat must not wait for a disk
worker_tmp_dir = memory if os.path.isdir(memory) else None
