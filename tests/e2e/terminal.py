"""A shell in a sandbox, started in a terminal: it has one of its own, of the same size, Ctrl-C is the command's, and the
terminal is afterwards as it was before. terminal.py COMMAND..."""
import fcntl, os, pty, select, signal, struct, sys, termios, time

master, slave = pty.openpty()
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 37, 91, 0, 0))
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in 0, 1, 2:
        os.dup2(slave, fd)
    os.close(master)
    os.execv(sys.argv[1], sys.argv[1:])

seen = b''


def wait_for(text, what):
    global seen
    end = time.time() + 30
    while text not in seen:
        if time.time() > end:
            os.kill(pid, signal.SIGKILL)
            sys.exit(f'{what}: not {text} in {seen}')
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 4096)
    seen = seen[seen.index(text) + len(text):]


def type_in(text):
    os.write(master, text.encode())


wait_for(b'# ', 'a prompt')
type_in('tty; stty size; echo done$((1+1))\r')
wait_for(b'/dev/pts/0', 'tty')
wait_for(b'37 91', 'the size')
wait_for(b'done2', 'the end')
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 100, 0, 0))
os.kill(pid, signal.SIGWINCH)
time.sleep(0.3)
type_in('stty size\r')
wait_for(b'50 100', 'another size')
type_in('echo wait$((1+1)); sleep 60\r')
wait_for(b'wait2', 'a command')
time.sleep(0.5)
type_in('\x03')
type_in('echo status$?\r')
wait_for(b'status130', 'Ctrl-C')
type_in('exit 5\r')
end = time.time() + 30
while True:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    if time.time() > end:
        os.kill(pid, signal.SIGKILL)
        sys.exit(f'it does not end: {seen}')
    if select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 4096)
if os.waitstatus_to_exitcode(status) != 5:
    sys.exit(f'ended with {status}, not 5: {seen}')
if termios.tcgetattr(slave) != before:
    sys.exit('the terminal is not as it was')
