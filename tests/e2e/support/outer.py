"""An outer host of ODMR (RFC 2645): it keeps mail for an inner one until that one calls, logs in over TLS and says
ATRN; then it is the client on the same connection."""
import base64
import select
import socket
import threading

from .net import Address

PORT = 3366
PATIENCE = 60  # seconds without a byte, after which a session is given up


class Gone(Exception):
    """The inner host has closed the connection."""


class Outer:
    """`tls`: an SSL context. `mail`: (sender, recipient, body) that waits; what was acknowledged moves to `taken`,
    what was refused for good to `refused`, with the reply. `answer`: what ATRN gets, or None: 250 where mail waits or
    `hold` is set, else 453. `hold`: a session lasts until the inner host ends it, and mail goes as it comes."""

    def __init__(self, tls, user, password):
        self.address = Address()
        self.ip = self.address.ip
        self.tls = tls
        self.account = (user, password)
        self.answer = None
        self.hold = False
        self.mail, self.taken, self.refused = [], [], []
        self.logins = []  # (user, password), in TLS or not
        self.calls = []   # arguments of ATRN
        self.hellos = []  # what the inner host offers to its client
        self.news = threading.Condition()
        self._stopped = False
        self._sockets = set()
        self._listener = socket.create_server((self.ip, PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with self.news:
            self._stopped = True
            self.news.notify_all()
        self._listener.close()
        for one in list(self._sockets):
            one.close()
        self.address.close()

    def put(self, sender, recipient, body="Subject: kept\r\n\r\nhi\r\n"):
        with self.news:
            self.mail.append((sender, recipient, body))
            self.news.notify_all()

    @property
    def sessions(self):
        """How many are open."""
        return len(self._sockets)

    def _accept(self):
        while not self._stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        session = _Session(connection)
        self._sockets.add(connection)
        try:
            if self._be_server(session):
                self._be_client(session)
        except (OSError, Gone):
            pass
        finally:
            self._sockets -= {connection, session.socket}
            session.close()

    # --- Until the session is turned round -------------------------------------------------------

    def _be_server(self, session):
        """True: it was."""
        session.say("220 outer.example ODMR")
        user = None
        while True:
            verb, _, rest = session.hear_line().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                session.say("250-outer.example", "250 AUTH PLAIN" if session.secure else "250 STARTTLS")
            elif verb == "STARTTLS":
                session.say("220 go")
                self._sockets.discard(session.socket)
                session.begin_tls(self.tls)
                self._sockets.add(session.socket)
            elif verb == "AUTH":
                _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.logins.append((name, password, session.secure))
                user = name if (name, password) == self.account else None
                session.say("235 2.7.0 welcome" if user else "535 5.7.8 no such account")
            elif verb == "ATRN":
                self.calls.append(rest)
                reply = self._reply() if user else "530 5.7.0 who are you"
                session.say(reply)
                if reply.startswith("250"):
                    return True
            elif verb == "QUIT":
                session.say("221 bye")
                return False
            else:
                session.say("502 what")

    def _reply(self):
        if self.answer:
            return self.answer
        with self.news:
            return "250 now reversing" if self.mail or self.hold else "453 You have no mail"

    # --- Afterwards ------------------------------------------------------------------------------

    def _be_client(self, session):
        session.hear()
        self.hellos.append(session.ask("EHLO outer.example")[1])
        while True:
            with self.news:
                while self.hold and not self.mail and not self._stopped:
                    self.news.wait(0.1)
                    if session.has_word():  # nobody asked: it ends, and the reply to QUIT tells how
                        break
                if self._stopped or not self.mail:
                    break
                message = self.mail[0]
            outcome = self._transaction(session, *message)
            with self.news:
                self.mail.remove(message)
                (self.taken if outcome is None else self.refused).append(message if outcome is None else outcome)
                self.news.notify_all()
        session.ask("QUIT")

    @staticmethod
    def _transaction(session, sender, recipient, body):
        """None: it was taken; else the reply that refused it. Raises where nobody knows."""
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
            code, text = session.ask(command)
            if code >= 500:
                session.ask("RSET")
                return f"{code} {text}"
            if code >= 400:
                raise Gone
        code, _ = session.ask(body + ".")
        if code != 250:
            raise Gone
        return None


class _Session:
    def __init__(self, connection):
        self.socket = connection
        self.secure = False
        self._file = connection.makefile("rb")

    def has_word(self):
        """Is there something to be read, or nothing any more?"""
        return bool(select.select([self.socket], [], [], 0)[0])

    def begin_tls(self, context):
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.secure = True
        self._file = self.socket.makefile("rb")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def hear_line(self):
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise Gone
        return line.decode().rstrip("\r\n")

    def hear(self):
        """(code, text) of a reply."""
        text = []
        while True:
            line = self.hear_line()
            text.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(text)

    def ask(self, command):
        self.say(command)
        return self.hear()

    def close(self):
        self._file.close()
        self.socket.close()
