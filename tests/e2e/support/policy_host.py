"""PolicyHost: a real HTTPS server that has a domain's MTA-STS policy, or something else."""
import http.server
import socketserver
import threading

from support.net import Address

HTTPS_PORT = 4443
PATH = "/.well-known/mta-sts.txt"


def policy(*hosts, mode="enforce", max_age=604800):
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), f"max_age: {max_age}"]
    return "\r\n".join(lines) + "\r\n"


class PolicyHost:
    """`context`: its certificate, as ssl knows it; None: it speaks clear text."""

    def __init__(self, context, text=""):
        self.address = Address()
        self.ip = self.address.ip
        self.text = text
        self.status = 200
        self.headers = {"Content-Type": "text/plain"}
        self.missing = 0  # bytes of the text, at its end
        self.asked = []  # (name that TLS was told, Host, path)
        self.peers = []  # addresses of clients, whatever they said
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                self.name = None
                host.peers.append(self.client_address[0])
                if context is not None:
                    def note(sock, name, _):
                        self.name = name
                    with host.lock:
                        context.sni_callback = note
                        self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self):
                super().finish()
                self.request.close()  # of TLS, the server knows only the socket below

            def do_GET(self):
                host.asked.append((self.name, self.headers["Host"], self.path))
                body = host.text.encode()
                self.send_response(host.status)
                for key, value in host.headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body) + host.missing))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                """Clients that do not believe the certificate go; that is what tests want."""

        self.lock = threading.Lock()
        self.server = Server((self.ip, HTTPS_PORT), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        """Nobody answers at its port any more."""
        if self.thread is not None:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.thread = None

    def close(self):
        self.stop()
        self.address.close()
