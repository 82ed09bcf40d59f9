// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Decap: takes a balancer's packets out of their tunnel, without any tunnel device.
 *
 * The outer packet is IPIP, GRE or GUE over IPv4 or IPv6, from a balancer that is trusted; the inner one, of either
 * family, is for a VIP. Its outer headers are cut off and the kernel goes on as if the client's packet had come in on
 * this interface. Whatever is not such a packet passes on untouched, for the tunnel devices that a machine may have.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include "decap.h"

#include "trust.bpf.h"
#include "vips.bpf.h"

/* From the kernel's net/inet_ecn.h, which is not a user header. */
#define ECN_MASK 3
#define ECN_CE 3

/* RFC 2784, 2890: the flags of GRE that add a word to its header, and all that must be zero. */
#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_KNOWN (GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE)

/* draft-ietf-intarea-gue-09, section 3; a private option of Linux: the inner checksum is left to the receiver. */
#define GUE_VERSION(first) ((first) >> 6)
#define GUE_CONTROL 0x20
#define GUE_OPTION_WORDS(first) ((first) & 0x1f)

/* linux/bpf.h of kernel 6.3, which the headers here may be older than. */
#define ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_GUE_PORTS);
	__type(key, __u32);
	__type(value, __u8);
} gue_ports SEC(".maps");

/* The headers around the client's packet. */
struct outer {
	struct in6_addr source;
	__u32 length;
	__u8 protocol;
	__u8 traffic_class;
	bool is_v4;
	bool is_fragment;
};

/* As many bytes of the outer packet as it takes to see that it is none of ours. */
static __always_inline bool read_outer(struct __sk_buff *skb, struct outer *outer)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl < 5)
			return false;
		outer->source = mapped(ip.saddr);
		outer->length = ip.ihl * 4;
		outer->protocol = ip.protocol;
		outer->traffic_class = ip.tos;
		outer->is_v4 = true;
		outer->is_fragment = ip.frag_off & bpf_htons(IP_MF | IP_OFFSET);
		return true;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;
		__u8 options[2];

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return false;
		outer->source = ip.saddr;
		outer->length = sizeof(ip);
		outer->protocol = ip.nexthdr;
		outer->traffic_class = ip.priority << 4 | ip.flow_lbl[0] >> 4;
		outer->is_v4 = false;
		outer->is_fragment = false;
		/* Linux puts its tunnel encapsulation limit (RFC 2473 section 4.1.1) there. */
		if (outer->protocol == IPPROTO_DSTOPTS) {
			if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), options, sizeof(options)))
				return false;
			outer->protocol = options[0];
			outer->length += 8 + options[1] * 8;
		}
		return true;
	}
	return false;
}

/* The protocol inside, as an Ethernet type; zero if this is no tunnel, or none that we know. */
static __always_inline __be16 read_tunnel(struct __sk_buff *skb, struct outer *outer)
{
	__u32 at = ETH_HLEN + outer->length;
	__u8 protocol = outer->protocol;

	if (protocol == IPPROTO_GRE) {
		__be16 gre[2];
		__u16 flags;

		if (bpf_skb_load_bytes(skb, at, gre, sizeof(gre)))
			return 0;
		flags = bpf_ntohs(gre[0]);
		if (flags & ~GRE_KNOWN)
			return 0;
		outer->length += 4 + (flags & GRE_CHECKSUM ? 4 : 0) + (flags & GRE_KEY ? 4 : 0) +
				 (flags & GRE_SEQUENCE ? 4 : 0);
		return gre[1];
	}
	if (protocol == IPPROTO_UDP) {
		__u8 gue[4];

		if (bpf_skb_load_bytes(skb, at + sizeof(struct udphdr), gue, sizeof(gue)))
			return 0;
		outer->length += sizeof(struct udphdr);
		/* Version 1 has no header: what follows is IP, whose own version begins with the same bits. */
		if (GUE_VERSION(gue[0]) == 1)
			return (gue[0] >> 4) == 4   ? bpf_htons(ETH_P_IP) :
			       (gue[0] >> 4) == 6 ? bpf_htons(ETH_P_IPV6) :
						    0;
		/* An option may change what follows (remote checksum offload does), so it must not be skipped. */
		if (GUE_VERSION(gue[0]) != 0 || (gue[0] & GUE_CONTROL) || GUE_OPTION_WORDS(gue[0]))
			return 0;
		outer->length += sizeof(gue);
		protocol = gue[1];
	}
	if (protocol == IPPROTO_IPIP)
		return bpf_htons(ETH_P_IP);
	if (protocol == IPPROTO_IPV6)
		return bpf_htons(ETH_P_IPV6);
	return 0;
}

static __always_inline bool is_tunnel(struct __sk_buff *skb, const struct outer *outer)
{
	__be16 ports[2];
	__u32 port;

	switch (outer->protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return true;
	case IPPROTO_UDP:
		if (outer->is_fragment)
			return false;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + outer->length, ports, sizeof(ports)))
			return false;
		port = bpf_ntohs(ports[1]);
		return bpf_map_lookup_elem(&gue_ports, &port);
	default:
		return false;
	}
}

/* RFC 6040 section 4.2: what the network said of congestion must not be lost with the outer header. */
enum congestion { NOT_CONGESTED, CONGESTED, MUST_DROP };

static __always_inline enum congestion congestion(__u8 outer, __u8 inner)
{
	if ((outer & ECN_MASK) != ECN_CE)
		return NOT_CONGESTED;
	return (inner & ECN_MASK) ? CONGESTED : MUST_DROP;
}

SEC("tcx/ingress")
int decap(struct __sk_buff *skb)
{
	struct in6_addr destination;
	enum congestion congested;
	struct outer outer = {};
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	__be16 inner;
	__u32 at;

	if (!read_outer(skb, &outer) || !is_tunnel(skb, &outer))
		return TC_ACT_UNSPEC;
	if (!is_trusted(&outer.source)) {
		count(COUNTER_UNTRUSTED);
		return TC_ACT_UNSPEC;
	}
	if (outer.is_fragment) {
		count(COUNTER_FRAGMENT);
		return TC_ACT_UNSPEC;
	}
	inner = read_tunnel(skb, &outer);
	at = ETH_HLEN + outer.length;
	if (inner == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4)
			goto unsupported;
		destination = mapped(ip.daddr);
		congested = congestion(outer.traffic_class, ip.tos);
		if (!outer.is_v4)
			flags |= ADJ_ROOM_DECAP_L3_IPV4;
	} else if (inner == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 6)
			goto unsupported;
		destination = ip.daddr;
		congested = congestion(outer.traffic_class, ip.flow_lbl[0] >> 4);
		if (outer.is_v4)
			flags |= ADJ_ROOM_DECAP_L3_IPV6;
	} else {
		goto unsupported;
	}
	if (!is_vip(&destination)) {
		count(COUNTER_OTHER_DESTINATION);
		return TC_ACT_UNSPEC;
	}
	if (congested == MUST_DROP) {
		count(COUNTER_CONGESTED);
		return TC_ACT_SHOT;
	}
	if (bpf_skb_adjust_room(skb, -(__s32)outer.length, BPF_ADJ_ROOM_MAC, flags)) {
		count(COUNTER_FAILED);
		return TC_ACT_SHOT;
	}
	if (congested == CONGESTED)
		bpf_skb_ecn_set_ce(skb);
	count(COUNTER_DECAPSULATED);
	return TC_ACT_UNSPEC;

unsupported:
	count(COUNTER_UNSUPPORTED);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
