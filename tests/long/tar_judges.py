#!/usr/bin/env python3
"""Has programs unpack tars, each as the one layer of an OCI layout, and compares what lies there then.

    tar_judges.py STAGEFS DIRECTORY EXAMPLES

stagefs (commit -t dir:), umoci (raw unpack) and skopeo (copy to a containers-storage with vfs, whose code docker has
too). Compared are names, types, sizes, contents, targets of links, which names are one file, modes, owners, devices and
times of what is no directory. Prints how often each class of differences came, and what was decided about them stands in tar_mutations.sh; EXAMPLES
gets one tar of each. Takes root, and most of a second for a tar."""
import hashlib, json, os, re, resource, shutil, stat, subprocess, sys, tempfile

LARGE = 32 << 20 # what unpacks to more, Go writes with all its holes: left out

def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()

def write_layout(path, tar):
    os.makedirs(path + '/blobs/sha256')
    def blob(media, data):
        with open(path + '/blobs/sha256/' + digest(data)[7:], 'wb') as f:
            f.write(data)
        return {'mediaType': media, 'digest': digest(data), 'size': len(data)}
    oci = 'application/vnd.oci.image.'
    config = {'architecture': 'amd64', 'os': 'linux', 'config': {}, 'rootfs': {'type': 'layers', 'diff_ids': [digest(tar)]}}
    manifest = {'schemaVersion': 2, 'mediaType': oci + 'manifest.v1+json',
                'config': blob(oci + 'config.v1+json', json.dumps(config).encode()), 'layers': [blob(oci + 'layer.v1.tar', tar)]}
    entry = blob(oci + 'manifest.v1+json', json.dumps(manifest).encode())
    entry['annotations'] = {'org.opencontainers.image.ref.name': 'a'}
    for name, value in ('oci-layout', {'imageLayoutVersion': '1.0.0'}), ('index.json', {'schemaVersion': 2, 'manifests': [entry]}):
        with open(path + '/' + name, 'w') as f:
            json.dump(value, f)

def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * LARGE, 8 * LARGE))

def run(*words):
    try:
        done = subprocess.run(words, preexec_fn=limit, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30)
        return done.returncode, done.stdout.decode('utf-8', 'replace')
    except subprocess.TimeoutExpired:
        return 124, 'not done after 30 s'

def by_stagefs(program, work):
    os.environ['STAGEFS_CACHE_DIR'] = work + '/cache'
    status, words = run(program, 'commit', 'oci:' + work + '/layout:a', '-t', 'dir:' + work + '/stagefs')
    return status, words, work + '/stagefs'

def by_umoci(program, work):
    status, words = run(program, 'raw', 'unpack', '--image', work + '/layout:a', work + '/umoci')
    return status, words, work + '/umoci'

def by_skopeo(program, work):
    store = work + '/store'
    status, words = run(program, '--tmpdir', work, 'copy', '-q', 'oci:' + work + '/layout:a',
                        'containers-storage:[vfs@%s+%s/run]judge:a' % (store, store))
    layers = os.listdir(store + '/vfs/dir') if status == 0 else []
    return status, words, store + '/vfs/dir/' + layers[0] if layers else None

def show(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()

def tree(root):
    """By name: what there is to compare, in the order of how much it matters."""
    found, groups = {}, {}
    def walk(path, name):
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        is_dir, is_file = kind == stat.S_IFDIR, kind == stat.S_IFREG
        found[name] = {
            'type': kind, 'size': st.st_size if is_file else 0,
            'contents': show(path) if is_file else '',
            'target': os.readlink(path) if kind == stat.S_IFLNK else '',
            'hard links': '' if is_dir else groups.setdefault((st.st_dev, st.st_ino), name),
            'device': st.st_rdev, 'mode': 0 if kind == stat.S_IFLNK else stat.S_IMODE(st.st_mode), 'owner': (st.st_uid, st.st_gid),
            'time': 0 if is_dir else st.st_mtime_ns // 1000000000}
        if is_dir:
            for child in sorted(os.listdir(path)):
                walk(path + b'/' + child, name + b'/' + child)
    walk(os.fsencode(root), b'')
    return found

def difference(ours, theirs):
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs:
            return ('a name is missing' if name in ours else 'a name is there that we do not have'), name
        for what in ours[name]:
            if name == b'' and what in ('mode', 'owner'):
                continue # the root's, of which only some programs take what the tar says
            if what == 'time' and ours[name][what] < 0 and theirs[name][what] == 0:
                return 'a time before 1970 is 1970', name
            if ours[name][what] != theirs[name][what]:
                return 'another ' + what, '%r: %r, not %r' % (name, theirs[name][what], ours[name][what])
    return None, None

def shorten(words):
    """What a failure's last line says in the end, without what differs from tar to tar."""
    words = words.strip().split('\n')[-1].replace('\\"', "'").rstrip('"')
    words = re.split(r'stderr: *|\\n *|: (?!.*stderr)', words)[-1]
    return re.sub(r'/\S*', 'PATH', re.sub(r'\b\d+\b', 'N', words))[-100:]

classes = {}

def count(what, path, detail):
    if what not in classes:
        classes[what] = [0, len(classes)]
        shutil.copy(path, '%s/judge-%02d.tar' % (examples, classes[what][1]))
        print('judge-%02d.tar: %s\n    %s' % (classes[what][1], what, str(detail).strip()[-400:]), flush=True)
    classes[what][0] += 1

def try_one(path, work):
    with open(path, 'rb') as f:
        write_layout(work + '/layout', f.read())
    status, words, root = by_stagefs(stagefs, work)
    ours = tree(root) if status == 0 else None
    if ours and sum(entry['size'] for entry in ours.values()) > LARGE:
        count('left out, large', path, '')
        return
    for who, unpack in ('umoci', by_umoci), ('skopeo', by_skopeo):
        other, other_words, root = unpack(who, work)
        if (other == 0) != (status == 0):
            who_refuses = 'we unpack, %s refuses: %s' % (who, shorten(other_words)) if other else \
                          'we refuse, %s unpacks: %s' % (who, shorten(words))
            count(who_refuses, path, other_words if other else words)
        elif status == 0:
            what, detail = difference(ours, tree(root) if root else {b'': ours[b'']})
            if what:
                count('%s: %s' % (who, what), path, detail)
            else:
                count(who + ': the same', path, '')
        else:
            count(who + ': both refuse', path, '')

stagefs, directory, examples = sys.argv[1:]
for name in sorted(os.listdir(directory)):
    with tempfile.TemporaryDirectory() as work:
        try_one(directory + '/' + name, work)
for what in sorted(classes):
    print('%8d  %s (judge-%02d.tar)' % (classes[what][0], what, classes[what][1]))
