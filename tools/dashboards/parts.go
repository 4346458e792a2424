package main

import "fmt"

// quantiles are the median and what 1 in 20 and 1 in 100 exceed, of a histogram's buckets.
func quantiles(histogram, match string) []query {
	var all []query
	for _, of := range [][2]string{{"p50", "0.5"}, {"p95", "0.95"}, {"p99", "0.99"}} {
		legend, q := of[0], of[1]
		all = append(all, query{fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s_bucket{%s}[$__rate_interval])))", q, histogram, match), legend})
	}
	return all
}

// quantileBy is one quantile for each value of a label.
func quantileBy(q, histogram, match, label string) query {
	return query{fmt.Sprintf("histogram_quantile(%s, sum by (le, %s) (rate(%s_bucket{%s}[$__rate_interval])))", q, label, histogram, match), "{{" + label + "}}"}
}

// perSecond is a counter's rate, by labels.
func perSecond(counter, match, by string) query {
	return query{fmt.Sprintf("sum by (%s) (rate(%s{%s}[$__rate_interval]))", by, counter, match), "{{" + by + "}}"}
}

// serverFault are the answers that are a service's own fault, as otelgrpc has it.
const serverFault = `rpc_response_status_code=~"UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS"`

const (
	calls  = "rpc_server_call_duration_seconds"
	waits  = "rpc_client_call_duration_seconds"
	sql    = "db_client_operation_duration_seconds"
	redis  = "db_client_connections_use_time_milliseconds"
	events = "armlet_events_committed_total"
	effect = "messaging_process_duration_seconds"
)

// unary leaves out the calls that stay open as streams: how long those take says nothing.
const unary = `rpc_method!~".*/(Stream|Watch|ImportDevices|GenerateVouchers|ExportSettlementReport|VerifyOfflineTaps|SubmitOfflineTaps).*"`

// own selects the replicas of a service that the dashboard's variable names.
func own(service string) string { return fmt.Sprintf(`job=%q, instance=~"$instance"`, service) }

// replicas is the variable $instance of a service's dashboard.
func replicas(service string) variable {
	return variable{
		Name: "instance", Label: "Replica", Type: "query", Datasource: prometheus, Refresh: 2, IncludeAll: true, AllValue: ".*", Multi: true,
		Query:   fmt.Sprintf(`label_values(target_info{job=%q}, instance)`, service),
		Current: map[string]any{"text": []string{"All"}, "value": []string{"$__all"}},
	}
}

func callSection(match string) section {
	return section{"Calls", []graph{
		{title: "Calls a second", what: "By method.", unit: "reqps", queries: []query{perSecond(calls+"_count", match, "rpc_method")}},
		{title: "How long calls take", what: "Of all calls that are not streams. The dots lead to traces.", unit: "s", queries: quantiles(calls, match+", "+unary)},
		{title: "Slowest methods (p99)", unit: "s", queries: []query{{"topk(10, " + quantileBy("0.99", calls, match+", "+unary, "rpc_method").expr + ")", "{{rpc_method}}"}}},
		{
			title: "Answers that are the service's fault", what: "Refusals with a reason are not among them.", unit: "reqps", width: 12,
			queries: []query{{fmt.Sprintf("sum by (rpc_method, error_type) (rate(%s_count{%s, %s}[$__rate_interval]))", calls, match, serverFault), "{{error_type}} {{rpc_method}}"}},
		},
		{title: "Answers by status", unit: "reqps", width: 12, stacked: true, queries: []query{perSecond(calls+"_count", match, "rpc_response_status_code")}},
	}}
}

func peerSection(match string) section {
	return section{"Calls to other services", []graph{
		{title: "Waited for (p99)", what: "By method of the other service.", unit: "s", width: 12, queries: []query{quantileBy("0.99", waits, match+", "+unary, "rpc_method")}},
		{
			title: "Not answered as hoped", what: "Every status but OK.", unit: "reqps", width: 12,
			queries: []query{{fmt.Sprintf(`sum by (rpc_method, rpc_response_status_code) (rate(%s_count{%s, rpc_response_status_code!="OK"}[$__rate_interval]))`, waits, match), "{{rpc_response_status_code}} {{rpc_method}}"}},
		},
	}}
}

func sqlSection(match string) section {
	return section{"SQL", []graph{
		{title: "Statements a second", unit: "ops", width: 6, stacked: true, queries: []query{perSecond(sql+"_count", match, "db_operation_name")}},
		{title: "How long they take (p99)", what: "TRANSACTION is a whole one, with all its attempts.", unit: "s", width: 6, queries: []query{quantileBy("0.99", sql, match, "db_operation_name")}},
		{
			title: "Connections", unit: "short", width: 6, queries: []query{
				{fmt.Sprintf("sum by (db_client_connection_state) (db_client_connection_count{%s})", match), "{{db_client_connection_state}}"},
				{fmt.Sprintf("sum(db_client_connection_max{%s})", match), "most"},
			},
		},
		{
			title: "Waits for a connection", what: "More than now and then: the pool is too small, or statements too slow.", unit: "ops", width: 6,
			queries: []query{{fmt.Sprintf("sum(rate(armlet_db_connection_waits_total{%s}[$__rate_interval]))", match), "waits"}},
		},
	}}
}

func outboxSection(match string) section {
	return section{"Events out", []graph{
		{title: "Committed a second", what: "By event.", unit: "ops", stacked: true, queries: []query{perSecond(events, match, "armlet_event_type")}},
		{
			title: "Committed and stored in JetStream", what: "The same, but for a moment's delay.", unit: "ops", queries: []query{
				{fmt.Sprintf("sum(rate(%s{%s}[$__rate_interval]))", events, match), "committed"},
				{fmt.Sprintf("sum(rate(messaging_client_sent_messages_total{%s}[$__rate_interval]))", match), "stored"},
			},
		},
		{title: "Waiting", unit: "short", width: 4, queries: []query{{fmt.Sprintf("max(armlet_outbox_pending{%s})", match), "events"}}},
		{title: "Oldest waits", unit: "s", width: 4, queries: []query{{fmt.Sprintf("max(armlet_outbox_age_seconds{%s})", match), "age"}}},
	}}
}

// overview is the first row of a service's dashboard.
func overview(service, match string) section {
	return section{"Now", []graph{
		{title: "Replicas", what: "That have sent something in the last minutes.", unit: "short", stat: true, width: 2, bad: 1, low: true, queries: []query{{fmt.Sprintf(`count(target_info{job=%q})`, service), "replicas"}}},
		{title: "Versions", what: "More than one while a release is rolled out.", unit: "short", stat: true, width: 2, bad: 2, queries: []query{{fmt.Sprintf(`count(count by (service_version) (target_info{job=%q}))`, service), "versions"}}},
		{title: "Calls a second", unit: "reqps", stat: true, queries: []query{{fmt.Sprintf("sum(rate(%s_count{%s}[$__rate_interval]))", calls, match), "calls"}}},
		{title: "Its own faults", what: "The share of calls that failed by the service's fault.", unit: "percentunit", stat: true, bad: 0.01, queries: []query{
			{fmt.Sprintf("(sum(rate(%[1]s_count{%[2]s, %[3]s}[$__rate_interval])) or vector(0)) / sum(rate(%[1]s_count{%[2]s}[$__rate_interval]))", calls, match, serverFault), "faults"},
		}},
		{title: "p99 of a call", unit: "s", stat: true, bad: 0.5, queries: quantiles(calls, match+", "+unary)[2:]},
		{title: "Certificate ends in", unit: "s", stat: true, bad: 14 * 86400, low: true, queries: []query{{fmt.Sprintf("min(armlet_certificate_remaining_seconds{%s})", match), "left"}}},
		{title: "Outbox age", unit: "s", stat: true, bad: 30, queries: []query{{fmt.Sprintf("max(armlet_outbox_age_seconds{%s})", match), "age"}}},
	}}
}
