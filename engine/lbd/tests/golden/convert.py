#!/usr/bin/env python3
"""Makes the compact corpus of this folder from recordings of Linux IPVS.

usage: convert.py RECORDINGS

RECORDINGS holds sched/, states/ and packets/ as JSON lines, one event, transition or case to a line. README.md says
what they hold and how the compact form reads.
"""
import collections
import glob
import ipaddress
import json
import lzma
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
METHODS = {'nat': '-m', 'dr': '-g', 'tun': '-i'}


def main():
    recordings = sys.argv[1]
    for folder in sorted(glob.glob(os.path.join(recordings, 'sched/*'))):
        scenarios = [scenario(lines(path)) for path in sorted(glob.glob(os.path.join(folder, '*.jsonl')))]
        write('sched-%s' % os.path.basename(folder), ''.join(scenarios))
    write('states', as_lines(lines(os.path.join(recordings, 'states/tcp-states.jsonl'))))
    write('walks', as_lines(timed(lines(os.path.join(recordings, 'states/tcp-walks.jsonl')))))
    for path in sorted(glob.glob(os.path.join(recordings, 'packets/*.jsonl'))):
        write('packets-%s' % os.path.basename(path)[:-6], as_lines(lines(path)))
    # The group with counters is replayed elsewhere: tests/counters.
    sessions = [path for path in sorted(glob.glob(os.path.join(recordings, 'ipvsadm/*.jsonl')))
                if 'counters' not in path]
    write('ipvsadm', ''.join(as_lines(lines(path)[1:]) for path in sessions))


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def as_lines(values):
    return ''.join(json.dumps(value, separators=(',', ':')) + '\n' for value in values)


def write(name, text):
    lzma2 = {'id': lzma.FILTER_LZMA2, 'preset': 9 | lzma.PRESET_EXTREME, 'lc': 0, 'pb': 0}
    with open(os.path.join(HERE, name + '.xz'), 'wb') as file:
        file.write(lzma.compress(text.encode(), lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=[lzma2]))


# ------------------------------------------------------------------------------------------ schedulers

def scenario(recorded):
    """One scenario: a line of JSON, the clients in the order in which they come, then a line for each event."""
    header, events = recorded[0], recorded[1:]
    services = header['services']
    thresholds = {}
    commands = ['--set %d %d %d' % tuple(header['timeouts'][kind] for kind in ('tcp', 'tcpfin', 'udp'))]
    for service in services:
        commands.append(add_service(service))
        for server in service['servers']:
            name = server_name(server)
            limits = server.get('u', 0), server.get('l', 0)
            thresholds[spec(service), name] = limits
            commands.append(set_server('-a', service, name, header['forward'], server['w'], limits, any(limits)))
    addressed = [service for service in services if service['type'] != 'fwmark']
    head = {
        'name': header['id'], 'forward': header['forward'], 'proto': header['proto'],
        'sysctl': header['sysctl'],
        'marks': [[service['mark'], to] for service in services if service['type'] == 'fwmark' for to in service['dsts']],
        'destination': endpoint(services[0]) if len(services) == 1 and addressed else None,
        'commands': commands,
    }
    clients, out = {}, []
    names, servers_of = {}, {}

    def numbered(name):
        """What was named before is named by its number."""
        if name in names:
            return '%d' % names[name]
        names[name] = len(names)
        return name

    for event in events:
        kind = event['e']
        if kind == 'wait':
            continue
        if 't' in event:
            out.append('@%s' % event['t'])
        if 'c' in event:
            letter = {'open': 'o', 'syn': 's', 'data': 'd', 'close': event.get('how', '')[:1]}[kind]
            client = event['c']
            words = [letter + event.get('flags', '')]
            if client in clients:
                words[0] += '%d' % clients[client]
            clients.setdefault(client, len(clients))
            if 'd' in event:
                words.append('>' + numbered(event['d']))
            if event['rs'] is None:
                words.append('-' + event.get('reply', ''))
            elif servers_of.get(client) != event['rs']:
                words.append(numbered(event['rs']))
            servers_of[client] = event['rs']
            out.append(' '.join(words))
        elif kind == 'check':
            servers = event['servers'] if len(services) > 1 else [event['servers']]
            out.append('?' + '|'.join(' '.join('%s %d %d %d' % (numbered(name), *counts) for name, *counts in each) for each in servers))
            if 'templates' in event:
                out.append('t' + ' '.join(numbered(name) for template in event['templates'] for name in template))
        else:
            service = services[event.get('svc', 0)]
            if kind == 'del_server':
                out.append('!-d %s -r %s' % (spec(service), event['server']))
            elif kind == 'set_scheduler':
                out.append('!' + add_service(service, '-E', event['scheduler'], event.get('flags') or []))
            else:
                key = spec(service), event['server']
                limits = thresholds.get(key, (0, 0)) if kind == 'set_server' else (0, 0)
                if 'u' in event:
                    limits = event['u'], event.get('l', 0)
                thresholds[key] = limits
                verb = '-e' if kind == 'set_server' else '-a'
                out.append('!' + set_server(verb, service, event['server'], header['forward'], event['w'], limits,
                                            any(limits) or 'u' in event))
    coming = ' '.join(packed(client) for client in clients)
    return json.dumps(head, separators=(',', ':')) + '\n' + coming + '\n' + ''.join(line + '\n' for line in out)


def spec(service):
    if service['type'] == 'fwmark':
        return '-f %d%s' % (service['mark'], ' -6' if service['af'] == 6 else '')
    return '-%s %s' % (service['type'][0], endpoint(service))


def endpoint(service):
    vip = service['vip']
    return '%s:%d' % ('[%s]' % vip if ':' in vip else vip, service['port'])


def server_name(server):
    ip = server['ip']
    return '%s:%d' % ('[%s]' % ip if ':' in ip else ip, server['port'])


def add_service(service, verb='-A', scheduler=None, flags=None):
    words = [verb, spec(service), '-s', scheduler or service['scheduler']]
    flags = service.get('flags') if flags is None else flags
    if flags:
        words += ['-b', ','.join(flags)]
    persistence = service.get('persist')
    if persistence:
        words += ['-p', str(persistence['timeout'])]
        if persistence['mask'] is not None:
            words += ['-M', str(persistence['mask'])]
    if service.get('ops'):
        words.append('-o')
    return ' '.join(words)


def set_server(verb, service, name, forward, weight, limits, say_limits):
    command = '%s %s -r %s %s -w %d' % (verb, spec(service), name, METHODS[forward], weight)
    return command + (' -x %d -y %d' % limits if say_limits else '')


def packed(name):
    """An address and a port in hexadecimal digits."""
    host, port = name.rsplit(':', 1)
    return '%s%04x' % (ipaddress.ip_address(host.strip('[]')).packed.hex(), int(port))


# ----------------------------------------------------------------------------------------------- walks

ACTIVE = {'SYN_RECV', 'ESTABLISHED', 'SYN_SENT'}
LEAST_MS, MOST_MS, LATE_MS = 25, 40, 600
LISTED_AFTER_MS = 10
CLOSE_MS = 10_000
TICK_MS = 20


def timed(walks):
    """The walks, each step with the milliseconds since the step before it.

    The walks of one forwarding method were recorded one after another, and conns of earlier ones ended meanwhile: those
    left in CLOSE, after 10 s, in the order in which they came. Their count falls within later walks. The recording
    does not say when its steps were, but these falls do, within narrow bounds: between any two of them lies the same
    multiple of the kernel's timer granularity. What is computed here is one course of time on which every count is
    that of a balancer whose conns end on time: 25 to 40 ms to a step, and more only where the kernel's timer was late.
    """
    by_method = collections.defaultdict(list)
    for walk in walks:
        by_method[walk['forward']].append(walk)
    for walks in by_method.values():
        times = iter(course(walks))
        for walk in walks:
            walk['ms'] = [next(times) for _ in walk['steps']]
            yield walk


def course(walks):
    """The milliseconds before each step of `walks`."""
    falls, closers, count = [], [], 0
    for walk in walks:
        ended = 0
        for _, _, state, _, _, inactive in walk['steps']:
            now_ended = (state is not None and state not in ACTIVE) - inactive
            falls += [count] * (now_ended - ended)
            ended = now_ended
            count += 1
        if walk['steps'][-1][2] == 'CLOSE':
            closers.append(count - 1)
    # Each constraint (a, b, ms) says that step b is at most ms after step a.
    constraints = []
    for step in range(1, count):
        constraints += [(step - 1, step, LATE_MS if step in falls else MOST_MS), (step, step - 1, -LEAST_MS)]
    for closer, step in zip(closers, falls):
        constraints += [(closer, step - 1, CLOSE_MS - LISTED_AFTER_MS - 1),
                        (step, closer, LISTED_AFTER_MS - CLOSE_MS - TICK_MS)]
    for closer in closers[len(falls):]:
        constraints.append((closer, count - 1, CLOSE_MS - LISTED_AFTER_MS - 1))
    times = [0] * count
    for _ in range(count):
        changed = False
        for a, b, ms in constraints:
            if times[a] + ms < times[b]:
                times[b], changed = times[a] + ms, True
        if not changed:
            return [0] + [after - before for before, after in zip(times, times[1:])]
    raise SystemExit('no course of time explains the counts')


if __name__ == '__main__':
    main()
