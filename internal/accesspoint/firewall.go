package accesspoint

// RuleModules are the kernel's modules that Rules needs, and the bridge.
var RuleModules = []string{"nf_tables", "nft_chain_nat", "nft_ct", "nft_masq", "bridge"}

// Rules is the ruleset of nft(8). It knows the Ethernet side by the name of its
// bridge, and everything else as the wireless side, so it is complete before there
// is any card.
//
// From the wireless side comes nothing but what belongs to connections from inside,
// and what IPv6 does not work without: neighbour discovery and router
// advertisements, of the link itself alone (a hop limit of 255 says so). Numbers stand
// where names would have nft look into an /etc/protocols: 58 is ICMPv6.
func Rules() string {
	return `table inet vic
delete table inet vic
table inet vic {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		iifname "lo" accept
		iifname "` + LAN + `" goto inside
		icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
		icmpv6 type { mld-listener-query } ip6 saddr fe80::/10 accept
	}
	chain inside {
		icmp type echo-request accept
		meta l4proto 58 accept
		udp dport { 53, 67, 547 } accept
		tcp dport { 22, 53, 80 } accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		tcp flags syn tcp option maxseg size set rt mtu
		ct state established,related accept
		ct state invalid drop
		iifname "` + LAN + `" oifname != "` + LAN + `" accept
	}
	chain output {
		type filter hook output priority filter; policy accept;
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != { "lo", "` + LAN + `" } masquerade
	}
}
`
}
