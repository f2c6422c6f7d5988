# SPDX-License-Identifier: MIT
"""qdb from Python: commands in, tables and arrays out. Standard library alone.

    from qdb import Qdb
    q = Qdb("model.gguf")                    # as on the command line; program="..." elsewhere
    q('prompt "The capital of France is"')
    q("run")["stop"]                         # the rows of a table, a dictionary each
    numpy.asarray(q.array("blk.3.out"))      # a memoryview of float32, the axes in order
"""
import ast, json, pathlib, signal, subprocess, tempfile


class QdbError(Exception):
    """A command failed: its message, the place and the hint."""


class Answer(dict):
    """The tables of a line by name, each a list of rows; .notes are its remarks."""


class Qdb:
    def __init__(self, *args, program="qdb", progress=None):
        self.progress, self.count = progress, 0
        self.pipe = subprocess.Popen([program, "-n", "-q", "--output", "json", *args], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line):
        """Run a line of commands; progress(label, done, total) hears of long ones."""
        self.count, answer, error = self.count + 1, Answer(), None
        answer.notes = []
        self.pipe.stdin.write(f"@{self.count} {line}\n".replace("\n", "; ", line.count("\n")))
        self.pipe.stdin.flush()
        while reply := self.next():
            if "done" in reply and error:
                raise QdbError(" ".join(filter(None, error.values())))
            if "done" in reply:
                return answer
            if "progress" in reply and self.progress:
                self.progress(**reply["progress"])
            for table in reply.get("tables", ()):
                names = [c["name"] for c in table["columns"]]
                rows = answer.setdefault(table["name"], [])
                rows += [dict(zip(names, row)) for row in table["rows"]]
            answer.notes += reply.get("notes", ())
            error = error or reply.get("error")
        raise QdbError(f"qdb has ended with status {self.pipe.wait()}")

    def next(self):
        """The next object of this line, None at the end; ^C interrupts the command."""
        while True:
            try:
                text = self.pipe.stdout.readline()
                if not text or json.loads(text).get("id") == str(self.count):
                    return json.loads(text) if text else None
            except KeyboardInterrupt:
                self.pipe.send_signal(signal.SIGINT)

    def array(self, expression):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "a.npy")
            self(f"dump {expression} to '{path}'")
            data = path.read_bytes()
        start = 10 + int.from_bytes(data[8:10], "little")
        shape = ast.literal_eval(data[10:start].decode().strip())["shape"]
        return memoryview(data)[start:].cast("f", shape or [1])

    def close(self):
        self.pipe.stdin.close()
        return self.pipe.wait()
