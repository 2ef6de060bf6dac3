"""commit_kill.py STAGEFS DIR KILLS: kills commits at random moments. Whatever is killed, a destination is as it was
before or complete; what is left behind goes with the next run that is not killed."""
import hashlib, os, random, shutil, signal, subprocess, sys, time

stagefs, top, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
seed = int(os.environ.get('SEED', time.time()))
print('seed', seed)
random.seed(seed)
os.environ['SOURCE_DATE_EPOCH'] = '1700000000'


def make_builder():
    for name in 'a', 'b':
        os.makedirs(f'{top}/builder/{name}')
        for i in range(40):
            with open(f'{top}/builder/{name}/{i}', 'wb') as f:
                f.write(random.randbytes(random.choice((100, 20000, 1 << 20))) * 2)
    os.makedirs(f'{top}/base/etc')
    open(f'{top}/base/etc/x', 'w').write('base')


def digest_of(path):
    """Of a file, of a directory with all in it, or of nothing."""
    hash = hashlib.sha256()
    if os.path.isdir(path):
        for place, dirs, files in os.walk(path):
            dirs.sort()
            for name in sorted(files):
                hash.update(f'{os.path.relpath(place, path)}/{name}\n'.encode() + digest_of(f'{place}/{name}').encode())
    elif os.path.exists(path):
        hash.update(open(path, 'rb').read())
    else:
        return 'nothing'
    return hash.hexdigest()


def state_of(target):
    kind, path = target.split(':')[:2]
    if kind != 'oci':
        return digest_of(path)
    if not os.path.exists(path + '/index.json'):
        return 'nothing'
    check = subprocess.run([stagefs, 'verify', '-q', '--json', target], capture_output=True, text=True)
    if check.returncode == 1 and 'no image' in check.stderr:
        return 'nothing'
    assert check.returncode == 0, f'{target} is broken: {check.stderr}'
    return hashlib.sha256(check.stdout.encode()).hexdigest()


def start(target, name):
    command = [stagefs, 'commit', '-q', '--base', f'oci:{top}/layout:base', '--from', f'dir:{top}/builder', '--copy', f'/{name}:/opt']
    return subprocess.Popen(command + ['-t', target], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(target, name):
    if target.startswith('dir:'):
        shutil.rmtree(target[4:], ignore_errors=True)
    process = start(target, name)
    words = process.communicate()[1]
    assert process.returncode == 0, f'{target}: {words}'
    return state_of(target)


def left_behind():
    return [f'{place}/{name}' for place, dirs, files in os.walk(top) for name in dirs + files if name.startswith('.stagefs-tmp-')]


make_builder()
subprocess.run([stagefs, 'commit', '-q', f'dir:{top}/base', '-t', f'oci:{top}/layout:base'], check=True, stdout=subprocess.DEVNULL)
targets = [f'oci:{top}/layout:x', f'oci-archive:{top}/o.tar:x', f'docker-archive:{top}/d.tar:x:1', f'dir:{top}/tree/x', f'oci:{top}/fresh:x']
done = {target: {name: finish(target, name) for name in 'ab'} for target in targets}
began = time.time()
for target in targets:
    finish(target, 'a')
length = (time.time() - began) / len(targets)
outcomes = {'before': 0, 'after': 0}
for i in range(kills):
    target = targets[i % len(targets)]
    if target.startswith('dir:') or 'fresh' in target:
        shutil.rmtree(target.split(':')[1], ignore_errors=True)
    before, name = state_of(target), random.choice('ab')
    process = start(target, name)
    time.sleep(random.random() * length * 1.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after = state_of(target)
    assert after in (before, done[target][name]), f'kill {i}: {target} is neither as before nor complete'
    outcomes['before' if after == before else 'after'] += 1
for target in targets:
    assert finish(target, 'b') == done[target]['b'], target
assert not left_behind(), f'left behind: {left_behind()}'
print(f'{kills} kills within {length:.2f} s each:', outcomes)
