"""Real user databases: slapd with an OpenLDAP and an Active-Directory-like schema, PostgreSQL, MariaDB, SQLite.

Each runs as nobody, on loopback ports and Unix sockets of its own, in a directory of its own. `load()` of
all takes the same users, so that one test can run against each of them.
"""

import os
import shutil
import signal
import socket
import sqlite3
import struct
import threading

from process import Child, Missing, Peer, free_port, run, wait_until

NOBODY = 65534
PASSWORD = "s3cret' \\pass"
POSTGRESQL = "/usr/lib/postgresql/15/bin"

# What a canonical address may look like; all of them exist wherever `odd` users are loaded.
ODD = [
    "ann@example.org",
    '"odd one"@example.org',
    "per%cent@example.org",
    "bang!path@example.org",
    '"double..dot"@example.org',
    "o'hara@example.org",
    "star*dust@example.org",
    "curly{}brace@example.org",
    "back`tick@example.org",
    "j\u00f6rg@example.org",
    "l" * 64 + "@example.org",
    "a=b/c?d~e|f@example.org",
    "#hash@example.org",
    '"inner #hash"@example.org',
]

# Keys that would find somebody if they were ever taken for filter or SQL.
INJECTIONS = [
    "*@example.org",
    "a*@example.org",
    "ann@example.org)(objectClass=*",
    "*)(|(mail=*",
    "ann)(|(mail=*@example.org",
    "\\2a@example.org",
    "x' OR '1'='1@example.org",
    "x'||(SELECT'1')||'@example.org",
    'x" OR ""="@example.org',
    "x'; DROP TABLE users; --@example.org",
    "x\\' OR 1=1 -- @example.org",
    "$1@example.org",
    "?@example.org",
    "%s@example.org",
    "%@example.org",
    "_nn@example.org",
    "ann@example.org\u2019 OR 1=1",
]


def as_nobody(*command):
    """The command without root's rights."""
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def need(path):
    if not os.access(path, os.X_OK):
        raise Missing(f"{path} is missing: tools/install-deps test")


def stands_still(path):
    """True of a thread that is stopped, or gone."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] in "TtZX"
    except OSError:
        return True


class Directory(Peer):
    """What all have in common. `text` is a directory block's content."""

    users = ()

    def __init__(self, users=()):
        super().__init__()
        self.users = list(users)
        self.port = free_port()

    def make_directory(self):
        path = super().make_directory()
        os.chown(path, NOBODY, NOBODY)
        return path

    def password_file(self, password=PASSWORD, name="password"):
        return self.write(name, password + "\n", 0o600, NOBODY)

    def block(self, extra="", **changes):
        raise NotImplementedError

    def freeze(self):
        """It listens and says nothing any more."""
        os.killpg(self.child.pid, signal.SIGSTOP)
        wait_until(lambda: all(stands_still(f"/proc/{self.child.pid}/task/{task}/stat")
                               for task in os.listdir(f"/proc/{self.child.pid}/task")), 10, "the end of all motion")

    def thaw(self):
        os.killpg(self.child.pid, signal.SIGCONT)

    def down(self):
        self.child.kill()


# ---- LDAP --------------------------------------------------------------------------------

SLAPD = """\
{includes}
pidfile {dir}/slapd.pid
argsfile {dir}/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit {sizelimit}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
maxsize 536870912
directory {dir}/db
dbnosync
suffix "dc=example,dc=org"
rootdn "cn=reader,dc=example,dc=org"
rootpw secret
index objectClass eq
{indexes}
{access}
"""

AD_SCHEMA = """\
# The few attributes of Active Directory and Exchange that decide whether a mailbox exists, under an arc for experiments.
attributetype ( 1.1.2.1.1 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.1.2.1.2 NAME 'userAccountControl' EQUALITY integerMatch ORDERING integerOrderingMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.1.2.1.3 NAME 'msExchRecipientTypeDetails' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.1.2.2.1 NAME 'mailRecipient' SUP top AUXILIARY
  MAY ( proxyAddresses $ userAccountControl $ msExchRecipientTypeDetails $ mail ) )
"""


def ldif_value(name, text):
    import base64
    return f"{name}:: {base64.b64encode(text.encode()).decode()}\n"


class Ldap(Directory):
    """slapd with inetOrgPerson entries: one address each in `mail`."""

    name = "slapd"
    schemas = ("core", "cosine", "inetorgperson")
    template = "openldap"
    indexes = "index mail eq"

    def __init__(self, users=(), sizelimit="unlimited", access=""):
        super().__init__(users)
        need("/usr/sbin/slapd")
        self.values = {"sizelimit": sizelimit, "access": access}
        self.tls_port = free_port()

    def entries(self):
        for number, address in enumerate(u for u in self.users if u.isascii()):    # mail is an IA5String
            yield (f"uid=u{number}", "objectClass: inetOrgPerson\nsn: x\ncn: x\n" + ldif_value("mail", address))

    def start(self):
        if not os.path.isdir(self.path("db")):
            self.prepare()
        self.launch()

    def prepare(self):
        os.mkdir(self.path("db"))
        self.certificate, self.key = self.path("cert.pem"), self.path("key.pem")
        # For an address: of "localhost" libldap makes the name of the machine.
        done = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
                    "-subj", "/CN=directory.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out",
                    self.certificate])
        assert done.returncode == 0, done.stderr.decode()
        os.chmod(self.key, 0o644)
        includes = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in self.schemas)
        includes += f"include {self.write('ad.schema', AD_SCHEMA)}\n"
        self.write("slapd.conf", SLAPD.format(dir=self.directory, includes=includes, certificate=self.certificate,
                                              key=self.key, indexes=self.indexes, **self.values))
        with open(self.path("data.ldif"), "w", encoding="utf-8") as out:
            out.write("dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n")
            for rdn, body in self.entries():
                key, value = rdn.split("=", 1)
                out.write(f"dn: {rdn},dc=example,dc=org\n{key}: {value}\n{body}\n")
        done = run(["/usr/sbin/slapadd", "-q", "-f", self.path("slapd.conf"), "-l", self.path("data.ldif")], timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        for name in os.listdir(self.path("db")):
            os.chown(self.path("db", name), NOBODY, NOBODY)
        os.chown(self.path("db"), NOBODY, NOBODY)

    def launch(self):
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/ ldap://127.0.0.2:{self.port}/"
        self.child = Child(as_nobody("/usr/sbin/slapd", "-d", "0", "-f", self.path("slapd.conf"), "-h", urls),
                           self.path("output"))
        self.await_listening(("127.0.0.1", self.port), ("127.0.0.1", self.tls_port))

    def block(self, extra="", url=None, password="secret", bind=True):
        url = url or f"ldap://127.0.0.1:{self.port}"
        login = (f'bind-dn "cn=reader,dc=example,dc=org"; password-file {self.password_file(password)};'
                 if bind else "")
        return f'ldap {url}; base "dc=example,dc=org"; template {self.template}; {login} {extra}'


class ActiveDirectory(Ldap):
    """slapd that looks like Active Directory: addresses in proxyAddresses, accounts that are disabled, groups."""

    name = "slapd-ad"
    template = "active-directory"
    indexes = "index mail,proxyAddresses eq"
    extra = (
        ("cn=disabled", "objectClass: applicationProcess\nobjectClass: mailRecipient\nuserAccountControl: 514\n"
         "proxyAddresses: SMTP:disabled@example.org\nmail: disabled@example.org\n"),
        ("cn=shared", "objectClass: applicationProcess\nobjectClass: mailRecipient\nuserAccountControl: 514\n"
         "msExchRecipientTypeDetails: 4\nproxyAddresses: SMTP:shared@example.org\n"),
        ("cn=group", "objectClass: applicationProcess\nobjectClass: mailRecipient\n"
         "proxyAddresses: SMTP:group@example.org\n"),
        ("cn=many", "objectClass: applicationProcess\nobjectClass: mailRecipient\nuserAccountControl: 512\n"
         "proxyAddresses: SMTP:Many@Example.org\nproxyAddresses: smtp:alias@example.org\n"
         "proxyAddresses: SIP:voice@example.org\nproxyAddresses: X500:/o=x/cn=y\n"),
    )

    def entries(self):
        for number, address in enumerate(self.users):
            yield (f"cn=u{number}", "objectClass: applicationProcess\nobjectClass: mailRecipient\n"
                   "userAccountControl: 512\n" + ldif_value("proxyAddresses", "SMTP:" + address))
        yield from self.extra


# ---- SQL ---------------------------------------------------------------------------------


class Sql(Directory):
    """What the three engines have in common."""

    engine = ""
    query = "SELECT address FROM users WHERE address = $1"

    def connection(self):
        raise NotImplementedError

    def block(self, extra="", password=PASSWORD, query=None):
        return (f'sql {self.engine} "{self.connection()}"; query "{query or self.query}"; '
                f'list-query "SELECT address FROM users"; password-file {self.password_file(password)}; {extra}')


class PostgreSql(Sql):
    name = "postgresql"
    engine = "postgresql"

    def __init__(self, users=()):
        super().__init__(users)
        need(f"{POSTGRESQL}/postgres")

    def connection(self):
        return f"host=127.0.0.1 port={self.port} dbname=postgres user=reader sslmode=disable"

    def start(self):
        if not os.path.isdir(self.path("db")):
            self.prepare()
        self.launch()

    def prepare(self):
        done = run(as_nobody(f"{POSTGRESQL}/initdb", "-D", self.path("db"), "-U", "owner", "-A", "trust", "-E", "UTF8",
                             "--locale=C", "--no-sync"), timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        self.write("db/pg_hba.conf", "local all owner trust\nhost all reader 127.0.0.1/32 scram-sha-256\n", 0o600, NOBODY)
        self.launch()
        quoted = PASSWORD.replace("'", "''")
        self.psql(f"CREATE ROLE reader LOGIN PASSWORD E'{quoted.replace(chr(92), chr(92) * 2)}';"
                  "CREATE TABLE users(address text PRIMARY KEY); GRANT SELECT ON users TO reader;")
        self.psql("COPY users FROM STDIN;\n" + "".join(u.replace("\\", "\\\\") + "\n" for u in self.users) + "\\.\n")
        self.psql("ANALYZE users;")
        self.child.stop()

    def psql(self, text):
        done = run([shutil.which("psql") or f"{POSTGRESQL}/psql", "-h", self.directory, "-p", str(self.port), "-U",
                    "owner", "-q", "-v", "ON_ERROR_STOP=1", "postgres"], data=text.encode(), timeout=120)
        assert done.returncode == 0, done.stderr.decode()

    def launch(self):
        self.child = Child(as_nobody(f"{POSTGRESQL}/postgres", "-D", self.path("db"), "-p", str(self.port), "-k",
                                     self.directory, "-h", "127.0.0.1", "-F"), self.path("output"))
        self.await_listening(self.path(f".s.PGSQL.{self.port}"))
        wait_until(lambda: run([f"{POSTGRESQL}/pg_isready", "-h", self.directory, "-p", str(self.port)]).returncode == 0,
                   30, "postgresql")

    def freeze(self):
        run(["pkill", "-STOP", "-P", str(self.child.pid)])
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.child.pid, signal.SIGCONT)
        run(["pkill", "-CONT", "-P", str(self.child.pid)])

    def down(self):
        self.child.signal(signal.SIGQUIT)
        self.child.stop()


class MariaDb(Sql):
    name = "mariadb"
    engine = "mysql"

    def __init__(self, users=()):
        super().__init__(users)
        need("/usr/sbin/mariadbd")

    def connection(self):
        return f"host=127.0.0.1 port={self.port} dbname=mail user=reader"

    def start(self):
        if not os.path.isdir(self.path("db")):
            self.prepare()
        self.launch()

    def prepare(self):
        os.mkdir(self.path("db"))
        os.chown(self.path("db"), NOBODY, NOBODY)
        tables = "CREATE DATABASE mysql;\nUSE mysql;\n"
        for name in ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data"):
            with open(f"/usr/share/mysql/{name}.sql", encoding="utf-8") as stream:
                tables += stream.read()
        done = run(["/usr/sbin/mariadbd", "--no-defaults", "--bootstrap", "--user=nobody", f"--datadir={self.path('db')}",
                    f"--tmpdir={self.directory}", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"], data=tables.encode(), timeout=180)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        lines = ["CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;",
                 f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{quoted}';",
                 "CREATE TABLE mail.users(address varchar(320) PRIMARY KEY);",
                 "GRANT SELECT ON mail.users TO reader@'127.0.0.1';"]
        for at in range(0, len(self.users), 200):       # of an init file lines beyond 16 KiB are broken
            rows = ",".join("('" + u.replace("\\", "\\\\").replace("'", "\\'") + "')" for u in self.users[at:at + 200])
            lines.append(f"INSERT INTO mail.users VALUES {rows};")
        lines.append(f"SELECT 'done' INTO OUTFILE '{self.path('ready')}';")
        self.write("init.sql", "\n".join(lines) + "\n")
        self.launch(f"--init-file={self.path('init.sql')}")
        wait_until(lambda: os.path.exists(self.path("ready")), 60, "the tables of mariadb")
        self.child.stop()

    def launch(self, *more):
        self.child = Child(["/usr/sbin/mariadbd", "--no-defaults", "--user=nobody", f"--datadir={self.path('db')}",
                            f"--socket={self.path('sock')}", f"--port={self.port}", "--bind-address=127.0.0.1",
                            f"--pid-file={self.path('pid')}", f"--tmpdir={self.directory}", "--skip-log-bin", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
                            "--innodb-buffer-pool-size=64M", "--character-set-server=utf8mb4", *more],
                           self.path("output"))
        self.await_listening(("127.0.0.1", self.port), timeout=60)


class Sqlite(Sql):
    name = "sqlite"
    engine = "sqlite"

    def connection(self):
        return self.path("users.db")

    def start(self):
        self.make(self.path("users.db"))

    def make(self, path):
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE users(address text PRIMARY KEY)")
            db.executemany("INSERT INTO users VALUES(?)", [(u,) for u in self.users])
        os.chmod(path, 0o644)

    def stop(self):
        pass

    def down(self):
        os.rename(self.path("users.db"), self.path("away.db"))

    def launch(self):
        os.rename(self.path("away.db"), self.path("users.db"))


# ---- socketmap ---------------------------------------------------------------------------


class SocketmapServer(Peer):
    """A socketmap server under our thumb. reply(map, key) gives the reply's text, or bytes to be sent as they are; None:
    silence."""

    name = "socketmap"

    def __init__(self, reply, path=False):
        super().__init__()
        self.reply = reply
        self.unix = path
        self.questions = []
        self.port = free_port()
        self.connections = set()

    @property
    def address(self):
        return f"unix:{self.path('map')}" if self.unix else f"inet:127.0.0.1:{self.port}"

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX if self.unix else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(self.path("map") if self.unix else ("127.0.0.1", self.port))
        if self.unix:
            os.chmod(self.path("map"), 0o666)
        self.listener.listen(100)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        if self.unix and os.path.exists(self.path("map")):
            os.unlink(self.path("map"))

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            stream = connection.makefile("rb")
            while True:
                length = b""
                while not length.endswith(b":"):
                    octet = stream.read(1)
                    if not octet:
                        return
                    length += octet
                text = stream.read(int(length[:-1]) + 1)[:-1].decode("utf-8", "replace")
                name, key = text.split(" ", 1)
                self.questions.append((name, key))
                said = self.reply(name, key)
                if said is None:
                    continue
                if isinstance(said, str):
                    octets = said.encode()
                    said = b"%d:%s," % (len(octets), octets)
                connection.sendall(said)
        except (OSError, ValueError):
            pass
        finally:
            self.connections.discard(connection)
            connection.close()

    def logs(self):
        return {"questions": "\n".join(map(str, self.questions[-50:]))}


def ask_socketmap(address, name, key, timeout=15.0):
    """One question in the protocol, as a client of the tests' own. Returns the reply's text."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(timeout)
        s.connect(address)
        text = f"{name} {key}".encode()
        s.sendall(b"%d:%s," % (len(text), text))
        octets = b""
        while not octets.endswith(b","):
            piece = s.recv(4096)
            if not piece:
                return None
            octets += piece
            if len(octets) > 20000:
                break
        return octets.split(b":", 1)[1][:-1].decode()
