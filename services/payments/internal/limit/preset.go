package limit

// Europe is what Commission Delegated Regulation (EU) 2018/389 asks of contactless payments (article 11: EUR 50 a tap, and
// EUR 150 in all or 5 taps since the last strong authentication) without unattended transport and parking (article 12).
func Europe() Policy {
	return Policy{Currency: "EUR", TimeZone: "Europe/Brussels", Strong: &Strong{
		TapThreshold: 5000, CumulativeThreshold: 15000, ConsecutiveTaps: 5,
		// Local and commuter transport, passenger railways, buses, tolls, parking lots and garages.
		Exempt: []uint32{4111, 4112, 4131, 4784, 7523},
	}}
}

// China asks for strong authentication above CNY 200 a tap.
func China() Policy {
	return Policy{Currency: "CNY", TimeZone: "Asia/Shanghai", Strong: &Strong{TapThreshold: 20000}}
}
