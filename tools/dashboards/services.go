package main

import "fmt"

// The dashboards of one service each: the same rows, and what is its own.

func service(name, title, what string, rows ...section) dashboard {
	match := own(name)
	sections := append([]section{overview(name, match), callSection(match)}, rows...)
	sections = append(sections, sqlSection(match), outboxSection(match))
	d := build(name, title, what, name, sections)
	d.Templating.List = []variable{replicas(name)}
	return d
}

func registry() dashboard {
	match := own("device-registry")
	return service("device-registry", "Device registry", "Models, lots, bands, bindings and suspensions.", section{"Bands", []graph{
		{title: "Bindings, suspensions, ends", unit: "ops", width: 12, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.devices.v1.(Device.*|SuspensionLifted)"`, "armlet_event_type")}},
		{title: "Lots and models", unit: "ops", width: 12, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.devices.v1.(Lot|Model).*"`, "armlet_event_type")}},
	}})
}

func authority() dashboard {
	match := own("auth")
	pool := func(state string) query {
		return query{fmt.Sprintf("sum(db_client_connections_%s{%s})", state, match), state}
	}
	grown := func(metric, legend string) query {
		return query{fmt.Sprintf("sum(rate(%s{%s}[$__rate_interval]))", metric, match), legend}
	}
	return service("auth", "Auth", "Partners, grants, keys, challenges and decisions.",
		section{"Decisions", []graph{
			{title: "Decisions on responses", unit: "ops", width: 12, queries: []query{perSecond(events, match+`, armlet_event_type="armlet.auth.v1.DecisionMade"`, "armlet_event_type")}},
			{title: "Copies suspected, partners, clients and grants changed", unit: "ops", width: 12, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.auth.v1.(CloneSuspected|Partner.*|ClientChanged|GrantChanged)"`, "armlet_event_type")}},
		}},
		peerSection(match),
		section{"Redis", []graph{
			{title: "Commands", what: "Losing Redis refuses challenges and approves nothing.", unit: "ms", width: 6, queries: quantiles(redis, match)},
			{title: "Commands that failed", unit: "ops", width: 6, queries: []query{{fmt.Sprintf(`sum by (error_type) (rate(%s_count{%s, status="error"}[$__rate_interval]))`, redis, match), "{{error_type}}"}}},
			{title: "Connecting", unit: "ms", width: 6, queries: quantiles("db_client_connections_create_time_milliseconds", match)},
			{title: "Connections", unit: "short", width: 6, queries: []query{
				{fmt.Sprintf("sum by (state) (db_client_connections_usage{%s})", match), "{{state}}"}, pool("max"), pool("idle_max"), pool("idle_min"),
			}},
			{title: "Who found a connection", unit: "ops", width: 12, queries: []query{
				grown("db_client_connections_hits", "at once"), grown("db_client_connections_misses", "had to connect"),
				grown("db_client_connections_waits", "had to wait"), grown("db_client_connections_timeouts", "got none"),
			}},
			{title: "Waiting for a connection", what: "Nanoseconds a second, of all together.", unit: "ns", width: 12, queries: []query{grown("db_client_connections_waits_duration_nanoseconds", "waiting")}},
		}},
	)
}

func paying() dashboard {
	match := own("payments")
	return service("payments", "Payments", "Payments, accounts, merchants, the ledger and settlement.",
		section{"Payments", []graph{
			{title: "By what became of them", unit: "ops", stacked: true, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.payments.v1.Payment.*"`, "armlet_event_type")}},
			{title: "Accounts", unit: "ops", stacked: true, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.payments.v1.Account.*"`, "armlet_event_type")}},
			{title: "Books differ by", what: "A flat line at 0.", unit: "short", queries: []query{{fmt.Sprintf("max by (armlet_currency) (armlet_ledger_difference{%s})", match), "{{armlet_currency}}"}}},
		}},
		peerSection(match),
	)
}

func notifying() dashboard {
	match := own("notify")
	return service("notify", "Notify", "Alerts, inboxes, vouchers, subscriptions.",
		section{"Alerts and vouchers", []graph{
			{title: "Alerts by what became of them", unit: "ops", stacked: true, queries: []query{perSecond("armlet_notify_alerts_total", match, "outcome")}},
			{title: "Critical alerts sent again", what: "Nobody acknowledged them in time.", unit: "ops", queries: []query{{fmt.Sprintf("sum(rate(armlet_notify_alerts_resent_total{%s}[$__rate_interval]))", match), "resent"}}},
			{title: "Open inbox streams", unit: "short", queries: []query{{fmt.Sprintf("sum by (instance) (armlet_notify_inbox_streams{%s})", match), "{{instance}}"}}},
			{title: "Vouchers", unit: "ops", width: 12, stacked: true, queries: []query{perSecond(events, match+`, armlet_event_type=~"armlet.notify.v1.(Voucher|Redemption|Campaign).*"`, "armlet_event_type")}},
			{title: "Subscriptions disabled", what: "Their webhooks did not take anything for too long.", unit: "ops", width: 12, queries: []query{perSecond(events, match+`, armlet_event_type="armlet.notify.v1.SubscriptionDisabled"`, "armlet_event_type")}},
		}},
		section{"Events in", []graph{
			{title: "Delivered", unit: "ops", width: 6, queries: []query{perSecond("messaging_client_consumed_messages_total", match, "messaging_consumer_group_name")}},
			{title: "How long an effect takes (p99)", unit: "s", width: 6, queries: []query{quantileBy("0.99", effect, match, "messaging_consumer_group_name")}},
			{title: "Waiting", unit: "short", width: 6, queries: []query{{fmt.Sprintf("max by (messaging_consumer_group_name) (armlet_consumer_pending{%s})", match), "{{messaging_consumer_group_name}}"}}},
			{title: "Given up", unit: "short", width: 6, queries: []query{{fmt.Sprintf("sum by (messaging_consumer_group_name) (increase(armlet_dead_letters_total{%s}[$__rate_interval]))", match), "{{messaging_consumer_group_name}}"}}},
		}},
	)
}
