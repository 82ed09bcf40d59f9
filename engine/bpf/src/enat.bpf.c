// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * ENAT: the server's half of a translation that a balancer has begun.
 *
 *   client                 balancer                            server
 *     | CIP:cport > VIP:vport  |                                  |
 *     | ---------------------> | VIP:lport > RIP:rport            |
 *     |                        |   with an option: CIP:cport,     |
 *     |                        |   vport (docs/wire-formats.md)   |
 *     |                        | -------------------------------> | incoming: restores what the client sent
 *     |                                                           |
 *     |                                     VIP:vport > CIP:cport | the server's own reply (TCP),
 *     | <-------------------------------------------------------- | or outgoing's doing (UDP)
 *
 * TCP: both ends are restored, so the kernel has a connection from the client to the VIP, which is on loopback, and
 * replies are right as they are. The port of the VIP may be another than the server listens on: the packets that begin a
 * connection are given to the socket that listens on RIP:rport. Of replies only the SYN is changed: it names a smaller segment
 * size, so that the balancer's option has room.
 *
 * UDP: only the client is restored. A server that answers from a wildcard socket answers from RIP, whatever address it was
 * asked at, so replies are made the VIP's on their way out, ICMP errors and fragments with them.
 */
#include <linux/bpf.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>

#include "enat.h"

#include "vips.bpf.h"

/* RFC 8200 section 4.5: offset in units of 8 bytes, and whether more fragments follow. */
#define V6_OFFSET 0xfff8
#define V6_MORE 1

/* docs/wire-formats.md */
#define OPTION_TCP 254
#define OPTION_UDP_V4 31
#define OPTION_UDP_V6 0x1e
#define ENAT_LENGTH 12
#define ENAT_MAGIC 0x454e
#define TOA_V4_LENGTH 8
#define TOA_V6_LENGTH 20
#define UOA_V6_BODY 20

/* RFC 9293 section 3.2 */
#define OPTION_MSS 2
#define MSS_LENGTH 4

/* As many as the balancer's own parser skips. */
#define MAX_EXTENSION_HEADERS 8

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_PORTS);
	__type(key, struct port_key);
	__type(value, __be16);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* the loader sets it */
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct fragment_key {
	struct in6_addr source;
	struct in6_addr destination;
	__u32 id;
	__u32 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTED);
	__type(key, struct fragment_key);
	__type(value, struct in6_addr); /* the new source */
} fragmented SEC(".maps");

struct packet {
	struct in6_addr source;
	struct in6_addr destination;
	__u32 transport; /* where the transport header begins */
	__u32 option;	 /* where UDP's option begins; zero if there is none */
	__u32 id;	 /* of a fragment */
	__u8 protocol;
	bool is_v4;
	bool more_fragments;
	bool later_fragment;
};

/* What an option tells. */
struct client {
	struct in6_addr address;
	__be16 port;
	__be16 vport; /* zero if it does not say */
};

static __always_inline bool read_v4(struct __sk_buff *skb, __u32 at, struct packet *packet)
{
	struct iphdr ip;
	__u8 option[2];

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.ihl < 5)
		return false;
	packet->is_v4 = true;
	packet->source = mapped(ip.saddr);
	packet->destination = mapped(ip.daddr);
	packet->protocol = ip.protocol;
	packet->transport = at + ip.ihl * 4;
	packet->id = ip.id;
	packet->more_fragments = ip.frag_off & bpf_htons(IP_MF);
	packet->later_fragment = ip.frag_off & bpf_htons(IP_OFFSET);
	if (ip.ihl * 4 >= sizeof(ip) + ENAT_LENGTH &&
	    !bpf_skb_load_bytes(skb, at + sizeof(ip), option, sizeof(option)) &&
	    option[0] == OPTION_UDP_V4 && option[1] == ENAT_LENGTH)
		packet->option = at + sizeof(ip);
	return true;
}

static __always_inline bool read_v6(struct __sk_buff *skb, __u32 at, struct packet *packet)
{
	struct ipv6hdr ip;
	__u8 next;
	int i;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || is_mapped_v4(&ip.saddr) ||
	    is_mapped_v4(&ip.daddr))
		return false;
	packet->source = ip.saddr;
	packet->destination = ip.daddr;
	next = ip.nexthdr;
	at += sizeof(ip);
	for (i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		__u8 extension[8];

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension)))
			return false;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset = extension[2] << 8 | extension[3];

			packet->later_fragment = offset & V6_OFFSET;
			packet->more_fragments = offset & V6_MORE;
			__builtin_memcpy(&packet->id, extension + 4, sizeof(packet->id));
			at += sizeof(extension);
		} else {
			if (next == IPPROTO_DSTOPTS && extension[2] == OPTION_UDP_V6 &&
			    extension[3] == UOA_V6_BODY)
				packet->option = at + 2;
			at += 8 + extension[1] * 8;
		}
		next = extension[0];
		if (packet->later_fragment)
			break;
	}
	packet->protocol = next;
	packet->transport = at;
	return true;
}

static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *packet)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return read_v4(skb, ETH_HLEN, packet);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return read_v6(skb, ETH_HLEN, packet);
	return false;
}

/* The option of TCP, which the balancer puts first; its length, or zero. */
static __always_inline __u32 read_tcp_option(struct __sk_buff *skb, const struct packet *packet,
					     const struct tcphdr *tcp, struct client *client)
{
	__u32 at = packet->transport + sizeof(*tcp);
	__u32 room = tcp->doff * 4 - sizeof(*tcp);
	__u8 option[TOA_V6_LENGTH];
	__be32 v4;

	if (tcp->doff < 7 || bpf_skb_load_bytes(skb, at, option, TOA_V4_LENGTH))
		return 0;
	if (option[0] != OPTION_TCP)
		return 0;
	__builtin_memcpy(&client->port, option + 2, sizeof(client->port));
	client->vport = 0;
	if (packet->is_v4) {
		__builtin_memcpy(&v4, option + 4, sizeof(v4));
		client->address = mapped(v4);
		if (option[1] == TOA_V4_LENGTH)
			return TOA_V4_LENGTH;
		if (option[1] != ENAT_LENGTH || room < ENAT_LENGTH ||
		    bpf_skb_load_bytes(skb, at, option, ENAT_LENGTH))
			return 0;
		if ((option[10] << 8 | option[11]) != ENAT_MAGIC)
			return 0;
		__builtin_memcpy(&client->vport, option + 8, sizeof(client->vport));
		return ENAT_LENGTH;
	}
	if (option[1] != TOA_V6_LENGTH || room < TOA_V6_LENGTH ||
	    bpf_skb_load_bytes(skb, at, option, TOA_V6_LENGTH))
		return 0;
	__builtin_memcpy(&client->address, option + 4, sizeof(client->address));
	return TOA_V6_LENGTH;
}

static __always_inline bool read_udp_option(struct __sk_buff *skb, const struct packet *packet,
					    struct client *client)
{
	__u8 option[2 + UOA_V6_BODY];
	__be32 v4;

	if (!packet->option)
		return false;
	if (packet->is_v4) {
		if (bpf_skb_load_bytes(skb, packet->option, option, ENAT_LENGTH) ||
		    (option[10] << 8 | option[11]) != ENAT_MAGIC)
			return false;
		__builtin_memcpy(&v4, option + 4, sizeof(v4));
		client->address = mapped(v4);
		__builtin_memcpy(&client->vport, option + 8, sizeof(client->vport));
	} else {
		if (bpf_skb_load_bytes(skb, packet->option, option, sizeof(option)))
			return false;
		__builtin_memcpy(&client->address, option + 4, sizeof(client->address));
		__builtin_memcpy(&client->vport, option + 20, sizeof(client->vport));
	}
	__builtin_memcpy(&client->port, option + 2, sizeof(client->port));
	return true;
}

static __always_inline __u32 now(void)
{
	return bpf_ktime_get_coarse_ns() / 1000000000;
}

static __always_inline bool is_same(const struct in6_addr *a, const struct in6_addr *b)
{
	return a->in6_u.u6_addr32[0] == b->in6_u.u6_addr32[0] &&
	       a->in6_u.u6_addr32[1] == b->in6_u.u6_addr32[1] &&
	       a->in6_u.u6_addr32[2] == b->in6_u.u6_addr32[2] &&
	       a->in6_u.u6_addr32[3] == b->in6_u.u6_addr32[3];
}

/*
 * Changes one of the addresses. `check` is where the transport's checksum is, which covers addresses too; zero if it is
 * not in this packet, or does not.
 *
 * A checksum that the device computed over the whole packet stays right: over IPv4 the address and the header's own
 * checksum cancel out, over IPv6 storing has to tell it.
 */
static __always_inline long set_address(struct __sk_buff *skb, const struct packet *packet,
					bool source, const struct in6_addr *new, __u32 check,
					__u64 flags)
{
	const struct in6_addr *old = source ? &packet->source : &packet->destination;
	long failed = 0;

	if (packet->is_v4) {
		__be32 from = old->in6_u.u6_addr32[3], to = new->in6_u.u6_addr32[3];

		if (check)
			failed |= bpf_l4_csum_replace(skb, check, from, to,
						      BPF_F_PSEUDO_HDR | flags | sizeof(to));
		failed |= bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from,
					      to, sizeof(to));
		failed |= bpf_skb_store_bytes(skb,
					      ETH_HLEN + (source ? offsetof(struct iphdr, saddr) :
								   offsetof(struct iphdr, daddr)),
					      &to, sizeof(to), 0);
	} else {
		struct in6_addr from = *old, to = *new;

		if (check)
			failed |= bpf_l4_csum_replace(skb, check, 0,
						      bpf_csum_diff((__be32 *)&from, sizeof(from),
								    (__be32 *)&to, sizeof(to), 0),
						      BPF_F_PSEUDO_HDR | flags);
		failed |= bpf_skb_store_bytes(skb,
					      ETH_HLEN + (source ? offsetof(struct ipv6hdr, saddr) :
								   offsetof(struct ipv6hdr, daddr)),
					      &to, sizeof(to), BPF_F_RECOMPUTE_CSUM);
	}
	return failed;
}

/* Changes a port, or another word that the transport's checksum covers. */
static __always_inline long set_word(struct __sk_buff *skb, __u32 at, __be16 from, __be16 to,
				     __u32 check, __u64 flags)
{
	if (from == to)
		return 0;
	return bpf_l4_csum_replace(skb, check, from, to, flags | sizeof(to)) |
	       bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* Over the option, so that nobody after us takes it for something else: its kind is also that of Fast Open's experiment. */
static __always_inline long blank_option(struct __sk_buff *skb, const struct packet *packet,
					 __u32 length)
{
	__u32 at = packet->transport + sizeof(struct tcphdr);
	__u32 check = packet->transport + offsetof(struct tcphdr, check);
	__u8 nops[TOA_V6_LENGTH], old[TOA_V6_LENGTH] = {};
	__s64 difference;

	__builtin_memset(nops, 1, sizeof(nops));
	/* Each length by itself: the verifier wants to know what is read of the stack. */
	if (length == TOA_V4_LENGTH) {
		if (bpf_skb_load_bytes(skb, at, old, TOA_V4_LENGTH))
			return -1;
		difference = bpf_csum_diff((__be32 *)old, TOA_V4_LENGTH, (__be32 *)nops,
					   TOA_V4_LENGTH, 0);
		return bpf_l4_csum_replace(skb, check, 0, difference, 0) |
		       bpf_skb_store_bytes(skb, at, nops, TOA_V4_LENGTH, 0);
	}
	if (length == ENAT_LENGTH) {
		if (bpf_skb_load_bytes(skb, at, old, ENAT_LENGTH))
			return -1;
		difference =
			bpf_csum_diff((__be32 *)old, ENAT_LENGTH, (__be32 *)nops, ENAT_LENGTH, 0);
		return bpf_l4_csum_replace(skb, check, 0, difference, 0) |
		       bpf_skb_store_bytes(skb, at, nops, ENAT_LENGTH, 0);
	}
	if (bpf_skb_load_bytes(skb, at, old, TOA_V6_LENGTH))
		return -1;
	difference = bpf_csum_diff((__be32 *)old, TOA_V6_LENGTH, (__be32 *)nops, TOA_V6_LENGTH, 0);
	return bpf_l4_csum_replace(skb, check, 0, difference, 0) |
	       bpf_skb_store_bytes(skb, at, nops, TOA_V6_LENGTH, 0);
}

/* The state of the TCP socket that a packet between these ends would find; zero if there is none. */
static __always_inline int socket_state(struct __sk_buff *skb, const struct packet *packet,
					const struct client *client, const struct in6_addr *own,
					__be16 own_port, bool take_listener)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	int state;

	if (packet->is_v4) {
		tuple.ipv4.saddr = client->address.in6_u.u6_addr32[3];
		tuple.ipv4.daddr = own->in6_u.u6_addr32[3];
		tuple.ipv4.sport = client->port;
		tuple.ipv4.dport = own_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &client->address, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, own, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = client->port;
		tuple.ipv6.dport = own_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return 0;
	state = sk->state;
	if (take_listener && state == BPF_TCP_LISTEN && bpf_sk_assign(skb, sk, 0))
		state = 0;
	bpf_sk_release(sk);
	return state;
}

/*
 * Finds the socket of a segment whose ends have been restored. Established ones the kernel finds by itself; what begins a
 * connection goes to whom RIP:rport belongs, whatever the VIP's port is.
 */
static __always_inline int find_socket(struct __sk_buff *skb, const struct packet *packet,
				       const struct tcphdr *tcp, const struct client *client,
				       struct flow *flow)
{
	bool begins = tcp->syn && !tcp->ack;
	int state;

	if (!begins) {
		if (flow->flags & FLOW_CONFIRMED)
			return TC_ACT_UNSPEC;
		state = socket_state(skb, packet, client, &packet->source, client->vport, false);
		if (state && state != BPF_TCP_LISTEN) {
			/* Neither half-open ones nor those in TIME_WAIT are for good. */
			if (state != BPF_TCP_NEW_SYN_RECV && state != BPF_TCP_TIME_WAIT)
				flow->flags |= FLOW_CONFIRMED;
			return TC_ACT_UNSPEC;
		}
		/* The answer to a SYN cookie, of which nobody knows but the one who listens; or to nothing at all. */
	}
	state = socket_state(skb, packet, client, &packet->destination, tcp->dest, true);
	if (state == BPF_TCP_LISTEN || client->vport == tcp->dest)
		return TC_ACT_UNSPEC;
	/* Nobody is there, and who listens on the VIP's port is somebody else. */
	state = socket_state(skb, packet, client, &packet->source, client->vport, false);
	if (state == BPF_TCP_LISTEN) {
		count(COUNTER_NO_SERVER);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC; /* the kernel refuses it in the VIP's name */
}

static __always_inline __be16 configured_port(const struct packet *packet, __be16 rport)
{
	struct port_key key = { .vip = packet->source, .rport = rport, .protocol = IPPROTO_TCP };
	__be16 *vport = bpf_map_lookup_elem(&ports, &key);

	return vport ? *vport : rport;
}

static __always_inline int incoming_tcp(struct __sk_buff *skb, struct packet *packet)
{
	__u32 check = packet->transport + offsetof(struct tcphdr, check);
	struct flow_key key = { .protocol = IPPROTO_TCP, .kind = KIND_REQUEST };
	struct client client = {};
	struct in6_addr vip;
	struct tcphdr tcp;
	struct flow *flow;
	__u32 length, time;
	long failed = 0;

	if (packet->more_fragments || packet->later_fragment)
		return TC_ACT_UNSPEC; /* the balancer sends none */
	if (bpf_skb_load_bytes(skb, packet->transport, &tcp, sizeof(tcp)))
		return TC_ACT_UNSPEC;
	if (!is_vip(&packet->source)) {
		if (tcp.syn && read_tcp_option(skb, packet, &tcp, &client) && client.vport)
			count(COUNTER_UNTRUSTED);
		return TC_ACT_UNSPEC;
	}
	key.peer = packet->source;
	key.own = packet->destination;
	key.peer_port = tcp.source;
	key.own_port = tcp.dest;
	time = now();
	length = read_tcp_option(skb, packet, &tcp, &client);
	flow = bpf_map_lookup_elem(&flows, &key);
	if (length) {
		/* Over IPv6 there is no room for it. */
		if (!client.vport)
			client.vport = configured_port(packet, tcp.dest);
		if (!flow || !is_same(&flow->address, &client.address) ||
		    flow->port != client.port || flow->vport != client.vport) {
			struct flow new = { .address = client.address,
					    .port = client.port,
					    .vport = client.vport,
					    .seen = time };

			bpf_map_update_elem(&flows, &key, &new, BPF_ANY);
			flow = bpf_map_lookup_elem(&flows, &key);
			count(COUNTER_LEARNED);
		}
		failed |= blank_option(skb, packet, length);
	}
	if (!flow) {
		count(COUNTER_UNKNOWN);
		return TC_ACT_UNSPEC;
	}
	client.address = flow->address;
	client.port = flow->port;
	client.vport = flow->vport;
	if (flow->seen != time)
		flow->seen = time;
	if (tcp.syn)
		flow->flags = 0;
	if ((tcp.fin || tcp.rst) && !(flow->flags & FLOW_CLOSING))
		flow->flags |= FLOW_CLOSING;

	vip = packet->source;
	failed |= set_address(skb, packet, true, &client.address, check, 0);
	failed |= set_address(skb, packet, false, &vip, check, 0);
	failed |= set_word(skb, packet->transport + offsetof(struct tcphdr, source), tcp.source,
			   client.port, check, 0);
	failed |= set_word(skb, packet->transport + offsetof(struct tcphdr, dest), tcp.dest,
			   client.vport, check, 0);
	if (failed) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	count(COUNTER_RESTORED);
	return find_socket(skb, packet, &tcp, &client, flow);
}

/* One of the two flows that a UDP conversation has. */
static __always_inline void learn(const struct flow_key *key, const struct in6_addr *address,
				  __be16 port, __be16 vport, __u32 time)
{
	struct flow new = { .address = *address, .port = port, .vport = vport, .seen = time };

	bpf_map_update_elem(&flows, key, &new, BPF_ANY);
}

static __always_inline void touch(const struct flow_key *key, __u32 time)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, key);

	if (flow)
		flow->seen = time;
}

static __always_inline void remember_fragment(const struct packet *packet,
					      const struct in6_addr *source)
{
	struct fragment_key key = { .source = packet->source,
				    .destination = packet->destination,
				    .id = packet->id,
				    .protocol = packet->protocol };

	if (packet->more_fragments)
		bpf_map_update_elem(&fragmented, &key, source, BPF_ANY);
}

/* A later fragment has no ports; it follows the first one. */
static __always_inline int follow_fragment(struct __sk_buff *skb, const struct packet *packet)
{
	struct fragment_key key = { .source = packet->source,
				    .destination = packet->destination,
				    .id = packet->id,
				    .protocol = packet->protocol };
	struct in6_addr *found = bpf_map_lookup_elem(&fragmented, &key);
	struct in6_addr source;

	if (!found)
		return TC_ACT_UNSPEC;
	source = *found;
	if (set_address(skb, packet, true, &source, 0, 0)) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}

static __always_inline int incoming_udp(struct __sk_buff *skb, struct packet *packet)
{
	__u32 check = packet->transport + offsetof(struct udphdr, check);
	struct flow_key key = { .protocol = IPPROTO_UDP, .kind = KIND_REQUEST };
	struct flow_key reply;
	struct client client = {};
	struct flow *flow, *other;
	struct udphdr udp;
	__u32 time = now();
	long failed;

	if (packet->later_fragment)
		return follow_fragment(skb, packet);
	if (bpf_skb_load_bytes(skb, packet->transport, &udp, sizeof(udp)))
		return TC_ACT_UNSPEC;
	key.peer = packet->source;
	key.own = packet->destination;
	key.peer_port = udp.source;
	key.own_port = udp.dest;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (read_udp_option(skb, packet, &client)) {
		if (!flow || !is_same(&flow->address, &client.address) ||
		    flow->port != client.port || flow->vport != client.vport) {
			learn(&key, &client.address, client.port, client.vport, time);
			flow = 0;
			count(COUNTER_LEARNED);
		}
	} else if (flow) {
		client.address = flow->address;
		client.port = flow->port;
		client.vport = flow->vport;
	} else {
		count(COUNTER_UNKNOWN);
		return TC_ACT_UNSPEC;
	}

	if (!flow || flow->seen != time) {
		reply = key;
		reply.kind = KIND_REPLY;
		reply.peer = client.address;
		reply.peer_port = client.port;
		if (flow) {
			flow->seen = time;
			touch(&reply, time);
		} else {
			other = bpf_map_lookup_elem(&flows, &reply);
			if (other && (!is_same(&other->address, &packet->source) ||
				      other->port != client.vport))
				count(COUNTER_COLLISION);
			learn(&reply, &packet->source, client.vport, 0, time);
		}
	}

	remember_fragment(packet, &client.address);
	failed = set_address(skb, packet, true, &client.address, check, BPF_F_MARK_MANGLED_0);
	failed |= set_word(skb, packet->transport + offsetof(struct udphdr, source), udp.source,
			   client.port, check, BPF_F_MARK_MANGLED_0);
	if (failed) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	count(COUNTER_RESTORED);
	return TC_ACT_UNSPEC;
}

/* Whether a packet is an ICMP error; if so, what it quotes, and where that begins. */
static __always_inline bool read_quoted(struct __sk_buff *skb, const struct packet *packet,
					struct packet *quoted, __u32 *at)
{
	__u8 icmp[8]; /* both families: type, code, checksum, and four bytes more */

	if (packet->later_fragment || packet->more_fragments)
		return false;
	if (bpf_skb_load_bytes(skb, packet->transport, icmp, sizeof(icmp)))
		return false;
	*at = packet->transport + sizeof(icmp);
	if (packet->is_v4 && packet->protocol == IPPROTO_ICMP)
		return (icmp[0] == ICMP_DEST_UNREACH || icmp[0] == ICMP_TIME_EXCEEDED ||
			icmp[0] == ICMP_PARAMETERPROB) &&
		       read_v4(skb, *at, quoted);
	if (!packet->is_v4 && packet->protocol == IPPROTO_ICMPV6)
		return icmp[0] >= ICMPV6_DEST_UNREACH && icmp[0] <= ICMPV6_PARAMPROB &&
		       read_v6(skb, *at, quoted);
	return false;
}

/* Changes an address and a port within what an ICMP error quotes; `source` or destination. */
static __always_inline long set_quoted(struct __sk_buff *skb, const struct packet *packet,
				       const struct packet *quoted, __u32 at, bool source,
				       const struct in6_addr *new, __be16 old_port, __be16 new_port)
{
	/* The checksum stands in the same place in both families, and covers what is quoted. */
	__u32 check = packet->transport + offsetof(struct icmphdr, checksum);
	struct in6_addr from = source ? quoted->source : quoted->destination, to = *new;
	__u32 port = quoted->transport + (source ? 0 : 2);
	long failed;

	if (packet->is_v4) {
		__be32 from_v4 = from.in6_u.u6_addr32[3], to_v4 = to.in6_u.u6_addr32[3];
		__u32 ip_check = at + offsetof(struct iphdr, check);

		/* The quoted header's own checksum changes by as much the other way: the ICMP checksum stays. */
		failed = bpf_l3_csum_replace(skb, ip_check, from_v4, to_v4, sizeof(to_v4));
		failed |= bpf_skb_store_bytes(skb,
					      at + (source ? offsetof(struct iphdr, saddr) :
							     offsetof(struct iphdr, daddr)),
					      &to_v4, sizeof(to_v4), 0);
	} else {
		failed = bpf_l4_csum_replace(skb, check, 0,
					     bpf_csum_diff((__be32 *)&from, sizeof(from),
							   (__be32 *)&to, sizeof(to), 0),
					     0);
		failed |= bpf_skb_store_bytes(skb,
					      at + (source ? offsetof(struct ipv6hdr, saddr) :
							     offsetof(struct ipv6hdr, daddr)),
					      &to, sizeof(to), 0);
	}
	return failed | set_word(skb, port, old_port, new_port, check, 0);
}

/*
 * Where a checksum is that covers an ICMP packet's addresses: ICMPv6's does (RFC 4443 section 2.3), that of ICMP over IPv4 does
 * not (RFC 792).
 */
static __always_inline __u32 icmp_check(const struct packet *packet)
{
	return packet->is_v4 ? 0 : packet->transport + offsetof(struct icmp6hdr, icmp6_cksum);
}

/*
 * An error about a reply. It came to the VIP, and so to the balancer, which has translated it like a packet of the client's: it
 * quotes RIP:rport to VIP:lport. The kernel here knows the connection as VIP:vport's to CIP:cport, or the UDP socket as
 * RIP:rport's. Who sent the error is lost; the VIP, from whom it comes, is an address of this server's own, from whom the kernel
 * takes nothing, so it becomes the client's.
 */
static __always_inline int incoming_error(struct __sk_buff *skb, const struct packet *packet)
{
	struct flow_key key = { .kind = KIND_REQUEST };
	struct packet quoted = {};
	struct in6_addr client;
	struct flow *flow;
	__be16 ends[2];
	__u32 at;
	long failed;

	if (!read_quoted(skb, packet, &quoted, &at) || quoted.later_fragment)
		return TC_ACT_UNSPEC;
	if (quoted.protocol != IPPROTO_UDP && quoted.protocol != IPPROTO_TCP)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, quoted.transport, ends, sizeof(ends)))
		return TC_ACT_UNSPEC;
	key.protocol = quoted.protocol;
	key.peer = quoted.destination;
	key.peer_port = ends[1];
	key.own = quoted.source;
	key.own_port = ends[0];
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return TC_ACT_UNSPEC;
	client = flow->address;
	failed = set_quoted(skb, packet, &quoted, at, false, &client, ends[1], flow->port);
	if (quoted.protocol == IPPROTO_TCP)
		failed |= set_quoted(skb, packet, &quoted, at, true, &quoted.destination, ends[0],
				     flow->vport);
	failed |= set_address(skb, packet, true, &client, icmp_check(packet), 0);
	if (failed) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	count(COUNTER_ERRORS);
	return TC_ACT_UNSPEC;
}

SEC("tcx/ingress")
int incoming(struct __sk_buff *skb)
{
	struct packet packet = {};

	if (!read_packet(skb, &packet))
		return TC_ACT_UNSPEC;
	if (packet.protocol == IPPROTO_ICMP || packet.protocol == IPPROTO_ICMPV6)
		return incoming_error(skb, &packet);
	if (packet.protocol == IPPROTO_TCP)
		return incoming_tcp(skb, &packet);
	if (packet.protocol == IPPROTO_UDP && is_vip(&packet.source))
		return incoming_udp(skb, &packet);
	return TC_ACT_UNSPEC;
}

/*
 * The server's SYN says how large the client's segments may be, which come with the option at first. The balancer makes room
 * for what it adds, but this SYN does not pass it. Linux writes this option first.
 */
static __always_inline int outgoing_tcp(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 check = packet->transport + offsetof(struct tcphdr, check);
	__u32 at = packet->transport + sizeof(struct tcphdr);
	__u32 length = packet->is_v4 ? ENAT_LENGTH : TOA_V6_LENGTH;
	__u8 option[MSS_LENGTH];
	struct tcphdr tcp;
	__u32 size;

	if (packet->later_fragment || bpf_skb_load_bytes(skb, packet->transport, &tcp, sizeof(tcp)))
		return TC_ACT_UNSPEC;
	if (!tcp.syn || !tcp.ack || !is_vip(&packet->source))
		return TC_ACT_UNSPEC;
	if ((tcp.doff * 4u < sizeof(tcp) + MSS_LENGTH) ||
	    bpf_skb_load_bytes(skb, at, option, sizeof(option)))
		return TC_ACT_UNSPEC;
	size = option[2] << 8 | option[3];
	if (option[0] != OPTION_MSS || option[1] != MSS_LENGTH || size <= length)
		return TC_ACT_UNSPEC;
	if (set_word(skb, at + 2, bpf_htons(size), bpf_htons(size - length), check, 0)) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}

static __always_inline int outgoing_udp(struct __sk_buff *skb, struct packet *packet)
{
	__u32 check = packet->transport + offsetof(struct udphdr, check);
	struct flow_key key = { .protocol = IPPROTO_UDP, .kind = KIND_REPLY };
	struct in6_addr vip;
	struct udphdr udp;
	struct flow *flow;
	__be16 vport;
	long failed;

	if (packet->later_fragment)
		return follow_fragment(skb, packet);
	if (bpf_skb_load_bytes(skb, packet->transport, &udp, sizeof(udp)))
		return TC_ACT_UNSPEC;
	key.peer = packet->destination;
	key.own = packet->source;
	key.peer_port = udp.dest;
	key.own_port = udp.source;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return TC_ACT_UNSPEC;
	vip = flow->address;
	vport = flow->port;
	remember_fragment(packet, &vip);
	failed = set_address(skb, packet, true, &vip, check, BPF_F_MARK_MANGLED_0);
	failed |= set_word(skb, packet->transport + offsetof(struct udphdr, source), udp.source,
			   vport, check, BPF_F_MARK_MANGLED_0);
	if (failed) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	count(COUNTER_REPLIES);
	return TC_ACT_UNSPEC;
}

/* An error of this server's own about a datagram of the client's, as of one to a port where nobody is. */
static __always_inline int outgoing_error(struct __sk_buff *skb, const struct packet *packet)
{
	struct flow_key key = { .protocol = IPPROTO_UDP, .kind = KIND_REPLY };
	struct packet quoted = {};
	struct in6_addr vip;
	struct flow *flow;
	__be16 ends[2];
	__u32 at;
	long failed;

	if (!read_quoted(skb, packet, &quoted, &at) || quoted.protocol != IPPROTO_UDP ||
	    quoted.later_fragment)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, quoted.transport, ends, sizeof(ends)))
		return TC_ACT_UNSPEC;
	key.peer = quoted.source;
	key.peer_port = ends[0];
	key.own = quoted.destination;
	key.own_port = ends[1];
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return TC_ACT_UNSPEC;
	vip = flow->address;
	failed = set_quoted(skb, packet, &quoted, at, false, &vip, ends[1], flow->port);
	failed |= set_address(skb, packet, true, &vip, icmp_check(packet), 0);
	if (failed) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	count(COUNTER_ERRORS);
	return TC_ACT_UNSPEC;
}

SEC("tcx/egress")
int outgoing(struct __sk_buff *skb)
{
	struct packet packet = {};

	if (!read_packet(skb, &packet))
		return TC_ACT_UNSPEC;
	if (packet.protocol == IPPROTO_TCP)
		return outgoing_tcp(skb, &packet);
	if (packet.protocol == IPPROTO_UDP)
		return outgoing_udp(skb, &packet);
	if (packet.protocol == IPPROTO_ICMP || packet.protocol == IPPROTO_ICMPV6)
		return outgoing_error(skb, &packet);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
