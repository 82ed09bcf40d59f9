// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Steering: which frames of an interface go to the balancer's sockets.
 *
 * These do: packets to a virtual service (destination VIP:vport:protocol, VIP with any port, or what a mark rule names),
 * packets to a port of a local address that may be a conn's (FNAT), and replies of NAT servers (source RIP:rport:protocol,
 * unless they answer one of this machine's own addresses: those are the balancer's own connections to its servers). Of
 * fragments, which have no ports, those between the same addresses; and ICMP errors about packets of such conns, which
 * quote them as they went out. Everything else is the kernel's, as if no program were attached: ARP, neighbour
 * discovery, ping, ssh, VLAN-tagged frames, whatever is malformed, and frames for another machine that a switch flooded.
 *
 * What another balancer sends here to a service (DR) has been balanced: this machine is the server that was chosen, and its
 * kernel answers. To take it again would be to send it round and round between the two.
 *
 * A frame that is ours goes to the socket bound to the queue it came in on. Where there is none (not yet, or the
 * process was killed), the kernel has it too.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

/* From the kernel's net/ip.h, which is not a user header. */
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

/* As many as the balancer's own parser skips. */
#define MAX_EXTENSION_HEADERS 8

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* the loader sets the number of queues */
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct endpoint);
	__type(value, __u8); /* how many bytes of room its frames are given */
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SERVERS);
	__type(key, struct endpoint);
	__type(value, __u8);
} servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_LOCAL_ADDRESSES);
	__type(key, struct address);
	__type(value, struct ports);
} local_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_LOCALS);
	__type(key, struct address);
	__type(value, __u8);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_MARKED);
	__type(key, struct prefix);
	__type(value, struct marked);
} marked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mac);
} own_mac SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_PEERS);
	__type(key, struct mac);
	__type(value, __u8);
} peers SEC(".maps");

/* Whether there has ever been a peer: most machines have none, and pay no lookup for that. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} peering SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void set_v4(struct address *address, __be32 v4)
{
	__builtin_memset(address->octets, 0, 10);
	address->octets[10] = 0xff;
	address->octets[11] = 0xff;
	__builtin_memcpy(&address->octets[12], &v4, sizeof(v4));
}

static __always_inline bool is_for_this_machine(const struct ethhdr *eth)
{
	__u32 zero = 0;
	const struct mac *own = bpf_map_lookup_elem(&own_mac, &zero);
	const __u16 *to = (const __u16 *)eth->h_dest;

	return own && to[0] == own->words[0] && to[1] == own->words[1] && to[2] == own->words[2];
}

static __always_inline bool is_from_peer(const struct ethhdr *eth)
{
	__u32 zero = 0;
	const __u32 *any = bpf_map_lookup_elem(&peering, &zero);
	const __u16 *from = (const __u16 *)eth->h_source;
	struct mac peer = { .words = { from[0], from[1], from[2] } };

	return any && *any && bpf_map_lookup_elem(&peers, &peer);
}

/* No frame is longer. */
#define MAX_OFFSET 4095

/*
 * A frame. What is in it is named by its offset: the verifier forgets how it came to a number, but tells apart pointers that
 * came to one place on different ways, and there are many through the extension headers of three packets in one another.
 */
struct frame {
	const void *data;
	const void *end;
};

/* Declares a pointer to what is at an offset; NULL if the frame ends before the end of that. */
#define AT(frame, offset, type)                                                                            \
	({                                                                                                 \
		const type *at_ = NULL;                                                                    \
		if ((offset) <= MAX_OFFSET) {                                                              \
			at_ = (frame)->data + (offset);                                                    \
			if ((const void *)(at_ + 1) > (frame)->end)                                        \
				at_ = NULL;                                                                \
		}                                                                                          \
		at_;                                                                                       \
	})

/* The addresses of a packet, and where what follows its IP header begins. */
struct transport {
	struct address source;
	struct address destination;
	__u32 at;
	__u8 protocol;
	bool fragment;
};

/* Of TCP or UDP. */
struct ends {
	__be16 source;
	__be16 destination;
};

static __always_inline bool read_v4(const struct frame *frame, __u32 at, struct transport *to)
{
	const struct iphdr *ip = AT(frame, at, struct iphdr);

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return false;
	to->fragment = ip->frag_off & bpf_htons(IP_MF | IP_OFFSET);
	set_v4(&to->source, ip->saddr);
	set_v4(&to->destination, ip->daddr);
	to->at = at + ip->ihl * 4;
	to->protocol = ip->protocol;
	return true;
}

/* An IPv4-mapped address does not stand in an IPv6 header (RFC 4942 section 2.2): it would hit the rules of IPv4. */
static __always_inline bool is_mapped(const struct in6_addr *addr)
{
	return !addr->in6_u.u6_addr32[0] && !addr->in6_u.u6_addr32[1] &&
	       addr->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

/* The part that is common to the extension headers that are skipped. */
struct extension {
	__u8 next;
	__u8 len; /* in units of 8 bytes, without the first */
	__u8 type;
	__u8 segments_left; /* of a routing header */
};

static __always_inline bool read_v6(const struct frame *frame, __u32 at, struct transport *to)
{
	const struct ipv6hdr *ip = AT(frame, at, struct ipv6hdr);
	const struct extension *extension;
	__u8 kind;
	int i;

	if (!ip || ip->version != 6)
		return false;
	if (is_mapped(&ip->saddr) || is_mapped(&ip->daddr))
		return false;
	__builtin_memcpy(&to->source, &ip->saddr, sizeof(to->source));
	__builtin_memcpy(&to->destination, &ip->daddr, sizeof(to->destination));
	kind = ip->nexthdr;
	at += sizeof(*ip);
	for (i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (kind != IPPROTO_HOPOPTS && kind != IPPROTO_ROUTING && kind != IPPROTO_DSTOPTS)
			break;
		extension = AT(frame, at, struct extension);
		if (!extension)
			return false;
		/* Not at its last destination yet: the kernel sends it on, or refuses to. */
		if (kind == IPPROTO_ROUTING && extension->segments_left)
			return false;
		kind = extension->next;
		at += 8 + extension->len * 8;
	}
	to->fragment = kind == IPPROTO_FRAGMENT;
	if (to->fragment) {
		extension = AT(frame, at, struct extension);
		if (!extension)
			return false;
		kind = extension->next;
	}
	to->at = at;
	to->protocol = kind;
	return true;
}

static __always_inline bool is_local_port(const struct endpoint *destination)
{
	const struct ports *ports = bpf_map_lookup_elem(&local_addresses, &destination->address);
	__u16 port = bpf_ntohs(destination->port);

	return ports && port >= ports->first && port <= ports->last;
}

static __always_inline bool is_marked(const struct endpoint *destination)
{
	struct prefix prefix = { .len = 8 * sizeof(prefix.address) };
	__u16 port = bpf_ntohs(destination->port);
	const struct marked *ports;
	int i;

	prefix.address = destination->address;
	ports = bpf_map_lookup_elem(&marked, &prefix);
	if (!ports)
		return false;
	for (i = 0; i < MARKED_RANGES; i++) {
		const struct port_range *range = &ports->ranges[i];

		if (range->protocol == destination->protocol && port >= range->first && port <= range->last)
			return true;
	}
	return false;
}

/* A service for every port of its address, or one by mark. */
static __always_inline bool is_to_wide_service(const struct endpoint *destination)
{
	struct endpoint any_port = *destination;

	any_port.port = 0;
	return bpf_map_lookup_elem(&services, &any_port) || is_marked(destination);
}

/* A server's reply; those of services for many ports come from any port, which is written 0. */
static __always_inline bool is_reply(struct endpoint *source, const struct address *destination)
{
	if (!bpf_map_lookup_elem(&servers, source)) {
		source->port = 0;
		if (!bpf_map_lookup_elem(&servers, source))
			return false;
	}
	return !bpf_map_lookup_elem(&locals, destination);
}

/* Of a host, whatever the port: an entry that no packet's own key is equal to, for want of a protocol. */
static __always_inline bool is_host_of(void *map, const struct address *address)
{
	struct endpoint host = { .address = *address };

	return bpf_map_lookup_elem(map, &host);
}

/* Whether any port of an address gets a mark by this protocol. */
static __always_inline bool is_marked_host(const struct address *address, __u8 protocol)
{
	struct prefix prefix = { .len = 8 * sizeof(prefix.address), .address = *address };
	const struct marked *ports = bpf_map_lookup_elem(&marked, &prefix);
	int i;

	for (i = 0; ports && i < MARKED_RANGES; i++)
		if (ports->ranges[i].protocol == protocol)
			return true;
	return false;
}

/* A fragment that may be of a packet to a service or a local address, or of a reply. */
static __always_inline bool is_our_fragment(const struct ethhdr *eth, const struct transport *packet)
{
	return ((is_host_of(&services, &packet->destination) ||
		 is_marked_host(&packet->destination, packet->protocol)) &&
		!is_from_peer(eth)) ||
	       (is_host_of(&servers, &packet->source) && !bpf_map_lookup_elem(&locals, &packet->destination));
}

/* What ICMP errors begin with. */
struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_TIME_EXCEED 3

/* The packet that an ICMP error is about. */
static __always_inline bool read_quote(const struct frame *frame, const struct transport *error,
				       struct transport *quote)
{
	const struct icmp *icmp = AT(frame, error->at, struct icmp);
	__u32 at = error->at + sizeof(*icmp);

	if (!icmp)
		return false;
	if (error->protocol == IPPROTO_ICMPV6) {
		if (icmp->type < ICMPV6_DEST_UNREACH || icmp->type > ICMPV6_TIME_EXCEED)
			return false;
		return read_v6(frame, at, quote);
	}
	if (icmp->type != ICMP_DEST_UNREACH && icmp->type != ICMP_SOURCE_QUENCH &&
	    icmp->type != ICMP_TIME_EXCEEDED)
		return false;
	return read_v4(frame, at, quote);
}

#define UDP_HEADER_LEN 8
#define GRE_CHECKSUM 0x8000
#define GRE_CHECKSUM_LEN 4

struct gre {
	__be16 flags;
	__be16 ethertype;
};

/* After a UDP header. */
struct gue {
	__u8 version_control_len;
	__u8 protocol;
	__be16 flags;
};

/* The packet within a tunnel's, as lbd wraps them; what looks like generic UDP encapsulation passes for it. */
static __always_inline bool read_inside(const struct frame *frame, const struct transport *outer,
					struct transport *inner)
{
	__u8 protocol = outer->protocol;
	__u32 at = outer->at;

	if (protocol == IPPROTO_UDP) {
		const struct gue *gue;

		at += UDP_HEADER_LEN;
		gue = AT(frame, at, struct gue);
		if (!gue || gue->version_control_len || gue->flags)
			return false;
		protocol = gue->protocol;
		at += sizeof(*gue);
	} else if (protocol == IPPROTO_GRE) {
		const struct gre *gre = AT(frame, at, struct gre);

		if (!gre || (gre->flags & ~bpf_htons(GRE_CHECKSUM)))
			return false;
		protocol = gre->ethertype == bpf_htons(ETH_P_IP)   ? IPPROTO_IPIP :
			   gre->ethertype == bpf_htons(ETH_P_IPV6) ? IPPROTO_IPV6 :
								     IPPROTO_NONE;
		at += sizeof(*gre) + (gre->flags ? GRE_CHECKSUM_LEN : 0);
	}
	if (protocol == IPPROTO_IPIP)
		return read_v4(frame, at, inner);
	if (protocol == IPPROTO_IPV6)
		return read_v6(frame, at, inner);
	return false;
}

/* The ends of a packet that is there up to its ports. */
static __always_inline bool read_ends(const struct frame *frame, const struct transport *packet,
				      struct endpoint *from, struct endpoint *to)
{
	const struct ends *ends = AT(frame, packet->at, struct ends);

	if (!ends || (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP))
		return false;
	from->address = packet->source;
	from->port = ends->source;
	from->protocol = packet->protocol;
	to->address = packet->destination;
	to->port = ends->destination;
	to->protocol = packet->protocol;
	return true;
}

/* An ICMP error about a packet of a conn. */
static __always_inline bool is_our_error(const struct ethhdr *eth, const struct frame *frame,
					 const struct transport *error)
{
	struct endpoint from = {}, to = {};
	struct transport quote, inside;

	if (!read_quote(frame, error, &quote))
		return false;
	/* About a packet to a client, or to a server. */
	if (read_ends(frame, &quote, &from, &to) &&
	    (is_local_port(&from) || is_reply(&to, &error->destination) ||
	     ((bpf_map_lookup_elem(&services, &from) || is_to_wide_service(&from)) && !is_from_peer(eth))))
		return true;
	/* About a tunnel's packet to a server. */
	return read_inside(frame, &quote, &inside) && read_ends(frame, &inside, &from, &to) &&
	       (bpf_map_lookup_elem(&services, &to) || is_to_wide_service(&to));
}

static __always_inline bool is_ours(struct xdp_md *ctx, __u8 *room)
{
	struct frame frame = { .data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	const struct ethhdr *eth = AT(&frame, 0, struct ethhdr);
	struct endpoint destination = {}, source = {};
	struct transport packet;
	const __u8 *service;

	if (!eth)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (!read_v4(&frame, sizeof(*eth), &packet))
			return false;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (!read_v6(&frame, sizeof(*eth), &packet))
			return false;
	} else {
		return false;
	}
	if (!packet.fragment && (packet.protocol == IPPROTO_ICMP || packet.protocol == IPPROTO_ICMPV6))
		return is_for_this_machine(eth) && is_our_error(eth, &frame, &packet);
	if (packet.protocol != IPPROTO_TCP && packet.protocol != IPPROTO_UDP)
		return false;
	if (packet.fragment)
		return is_for_this_machine(eth) && is_our_fragment(eth, &packet);
	if (!read_ends(&frame, &packet, &source, &destination))
		return false;

	service = bpf_map_lookup_elem(&services, &destination);
	if (service) {
		if (is_from_peer(eth))
			return false;
		*room = *service;
	} else if (!is_local_port(&destination) && !is_reply(&source, &destination.address) &&
		   (!is_to_wide_service(&destination) || is_from_peer(eth))) {
		return false;
	}
	return is_for_this_machine(eth);
}

/* Opens room in front of a frame that goes to a socket, and says so in its first bytes; false if there is none to open. */
static __always_inline bool open_room(struct xdp_md *ctx, __u32 queue, __u8 room)
{
	__u8 *mark;

	if (!room || room > MAX_ROOM || !bpf_map_lookup_elem(&xsks, &queue))
		return false;
	if (bpf_xdp_adjust_head(ctx, -(int)room))
		return false;
	mark = (void *)(long)ctx->data;
	if ((void *)(mark + 2) <= (void *)(long)ctx->data_end) {
		mark[0] = ROOM_MARK;
		mark[1] = room;
	}
	return true;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	/* Read here, once: a compiler that reads it in two places makes a pointer to it, which the verifier refuses. */
	volatile __u32 queue = ctx->rx_queue_index;
	int action = XDP_PASS;
	bool opened;
	__u8 room = 0;
	__u32 counter;
	__u64 *count;

	if (is_ours(ctx, &room)) {
		opened = open_room(ctx, queue, room);
		action = bpf_redirect_map(&xsks, queue, XDP_PASS);
		/* The socket has gone since: what the kernel gets is whole again, or nothing. */
		if (opened && action != XDP_REDIRECT && bpf_xdp_adjust_head(ctx, room))
			action = XDP_DROP;
	}

	counter = action == XDP_REDIRECT ? COUNTER_REDIRECTED : COUNTER_PASSED;
	count = bpf_map_lookup_elem(&counters, &counter);
	if (count)
		*count += 1; /* one value for each CPU: nobody else writes it */
	return action;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
