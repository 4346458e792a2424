package main

import "fmt"

// The dashboards across services: a tap, the books, the events.

const (
	confirm  = `job="payments", rpc_method="armlet.payments.v1.PaymentsService/ConfirmPayment"`
	create   = `job="payments", rpc_method="armlet.payments.v1.PaymentsService/CreatePayment"`
	verify   = `job="auth", rpc_method="armlet.auth.v1.AuthService/VerifyResponse"`
	check    = `job="device-registry", rpc_method="armlet.devices.v1.DeviceRegistryService/CheckDevice"`
	approved = `job="payments", armlet_event_type=~"armlet.payments.v1.PaymentAuthorized|armlet.payments.v1.PaymentCaptured"`
	declined = `job="payments", armlet_event_type="armlet.payments.v1.PaymentDeclined"`
)

func rate(match string) string {
	return fmt.Sprintf("sum(rate(%s{%s}[$__rate_interval]))", events, match)
}

func of(service, message string) string {
	return fmt.Sprintf(`job=%q, armlet_event_type=%q`, service, "armlet."+message)
}

// approvalRate counts a payment that is authorized first and captured later as two yeses.
func approvalRate() query {
	return query{fmt.Sprintf("%[1]s / (%[1]s + (%[2]s or vector(0)))", rate(approved), rate(declined)), "approved"}
}

func taps() dashboard {
	return build("taps", "Taps", "What wearers feel: do taps go through, and how fast.", "payments", []section{
		{"Now", []graph{
			{title: "Payments asked for", unit: "ops", stat: true, queries: []query{{rate(of("payments", "payments.v1.PaymentCreated")), "created"}}},
			{title: "Paid", unit: "ops", stat: true, queries: []query{{rate(of("payments", "payments.v1.PaymentCaptured")), "captured"}}},
			{
				title: "Approval rate", what: "Of what was decided. A payment authorized first and captured later counts as two yeses.",
				unit: "percentunit", stat: true, bad: 0.9, low: true, queries: []query{approvalRate()},
			},
			{title: "Confirmation, p99", what: "From the band's answer at payments to its reply.", unit: "s", stat: true, bad: 0.5, queries: quantiles(calls, confirm)[2:]},
			{title: "Copies suspected", what: "Devices whose counter came a second time, in an hour.", unit: "short", stat: true, bad: 1, queries: []query{
				{fmt.Sprintf("sum(increase(%s{%s}[1h]))", events, of("auth", "auth.v1.CloneSuspected")), "devices"},
			}},
			{title: "Alert effect, p99", what: "How long notify took to turn an event into an alert.", unit: "s", stat: true, bad: 1, queries: quantiles(effect, `messaging_consumer_group_name=~"notify-alerts.*"`)[2:]},
		}},
		{"Outcomes", []graph{
			{title: "Payments by what became of them", unit: "ops", width: 12, stacked: true, queries: []query{
				perSecond(events, `job="payments", armlet_event_type=~"armlet.payments.v1.Payment.*"`, "armlet_event_type"),
			}},
			{title: "Approval rate", unit: "percentunit", width: 12, share: true, queries: []query{approvalRate()}},
		}},
		{"The way of a tap", []graph{
			{title: "Create a payment", unit: "s", width: 6, queries: quantiles(calls, create)},
			{title: "Confirm it", what: "The dots lead to traces, from the tap to the wrist.", unit: "s", width: 6, queries: quantiles(calls, confirm)},
			{title: "of that: auth verifies", unit: "s", width: 6, queries: quantiles(calls, verify)},
			{title: "of that: the registry checks", unit: "s", width: 6, queries: quantiles(calls, check)},
			{title: "Confirmations by status", what: "FAILED_PRECONDITION and PERMISSION_DENIED are refusals; UNAVAILABLE is an outage.", unit: "reqps", width: 12, stacked: true, queries: []query{perSecond(calls+"_count", confirm, "rpc_response_status_code")}},
			{title: "Bindings, suspensions, releases", unit: "ops", width: 12, queries: []query{perSecond(events, `job="device-registry", armlet_event_type=~"armlet.devices.v1.*"`, "armlet_event_type")}},
		}},
	})
}

func ledger() dashboard {
	account := `job="payments", armlet_event_type=~"armlet.payments.v1.Account.*"`
	transaction := `job="payments", db_operation_name="TRANSACTION"`
	return build("ledger", "Ledger", "Is the money all there, and does it move.", "payments", []section{
		{"Now", []graph{
			{title: "Books differ by", what: "The sum of all balances, in minor units. Anything but 0 is an emergency.", unit: "short", stat: true, bad: 1, queries: []query{{"max(abs(armlet_ledger_difference))", "difference"}}},
			{title: "Captures", unit: "ops", stat: true, queries: []query{{rate(of("payments", "payments.v1.PaymentCaptured")), "captures"}}},
			{title: "Refunds", unit: "ops", stat: true, queries: []query{{rate(of("payments", "payments.v1.PaymentRefunded")), "refunds"}}},
			{title: "Overdrawn in a day", what: "Accounts from which an offline tap took more than they held.", unit: "short", stat: true, bad: 100, queries: []query{
				{fmt.Sprintf("sum(increase(%s{%s}[1d]))", events, of("payments", "payments.v1.AccountOverdrawn")), "accounts"},
			}},
			{title: "Settlements in a day", unit: "short", stat: true, queries: []query{
				{fmt.Sprintf("sum(increase(%s{%s}[1d]))", events, of("payments", "payments.v1.SettlementCreated")), "settlements"},
			}},
			{title: "A transaction, p99", unit: "s", stat: true, bad: 0.5, queries: quantiles(sql, transaction)[2:]},
		}},
		{"Books", []graph{
			{title: "Difference by currency", what: "A flat line at 0.", unit: "short", queries: []query{{"max by (armlet_currency) (armlet_ledger_difference)", "{{armlet_currency}}"}}},
			{title: "Money that moves for merchants", unit: "ops", stacked: true, queries: []query{perSecond(events, `job="payments", armlet_event_type=~"armlet.payments.v1.Payment(Captured|Refunded|Released|Voided)"`, "armlet_event_type")}},
			{title: "Money that moves for wearers", unit: "ops", stacked: true, queries: []query{perSecond(events, account, "armlet_event_type")}},
		}},
		{"Database", []graph{
			{title: "Transactions", what: "With all their attempts.", unit: "s", width: 12, queries: quantiles(sql, transaction)},
			{title: "Transactions a second", unit: "ops", width: 12, queries: []query{{fmt.Sprintf("sum(rate(%s_count{%s}[$__rate_interval]))", sql, transaction), "transactions"}}},
		}},
	})
}

func fabric() dashboard {
	return build("fabric", "Event fabric", "From the services' outboxes through JetStream to the consumers.", "notify", []section{
		{"Now", []graph{
			{title: "Oldest outbox", unit: "s", stat: true, bad: 30, queries: []query{{"max(armlet_outbox_age_seconds)", "age"}}},
			{title: "Waiting in outboxes", unit: "short", stat: true, bad: 10000, queries: []query{{"sum(max by (job) (armlet_outbox_pending))", "events"}}},
			{title: "Waiting for consumers", unit: "short", stat: true, bad: 10000, queries: []query{{"sum(max by (messaging_consumer_group_name) (armlet_consumer_pending))", "events"}}},
			{title: "Dead letters in a day", unit: "short", stat: true, bad: 1, queries: []query{{"sum(increase(armlet_dead_letters_total[1d]))", "letters"}}},
			{title: "Committed", unit: "ops", stat: true, queries: []query{{fmt.Sprintf("sum(rate(%s[$__rate_interval]))", events), "events"}}},
			{title: "Consumed", unit: "ops", stat: true, queries: []query{{"sum(rate(messaging_client_consumed_messages_total[$__rate_interval]))", "events"}}},
		}},
		{"Out", []graph{
			{title: "Committed by service", unit: "ops", width: 6, queries: []query{perSecond(events, `job!=""`, "job")}},
			{title: "Stored in JetStream by service", unit: "ops", width: 6, queries: []query{perSecond("messaging_client_sent_messages_total", `messaging_system="nats"`, "job")}},
			{title: "Waiting in the outbox", unit: "short", width: 6, queries: []query{{"max by (job) (armlet_outbox_pending)", "{{job}}"}}},
			{title: "Oldest waits", unit: "s", width: 6, queries: []query{{"max by (job) (armlet_outbox_age_seconds)", "{{job}}"}}},
		}},
		{"In", []graph{
			{title: "Delivered to consumers", what: "Repeats included.", unit: "ops", width: 6, queries: []query{perSecond("messaging_client_consumed_messages_total", `messaging_system="nats"`, "messaging_consumer_group_name")}},
			{title: "How long an effect takes (p99)", what: "The dots lead to traces.", unit: "s", width: 6, queries: []query{quantileBy("0.99", effect, `messaging_system="nats"`, "messaging_consumer_group_name")}},
			{title: "Waiting in the stream", unit: "short", width: 6, queries: []query{{"max by (messaging_consumer_group_name) (armlet_consumer_pending)", "{{messaging_consumer_group_name}}"}}},
			{title: "Effects that failed", what: "They are tried again, and in the end given up.", unit: "ops", width: 6, queries: []query{
				{fmt.Sprintf(`sum by (messaging_consumer_group_name, error_type) (rate(%s_count{error_type!=""}[$__rate_interval]))`, effect), "{{messaging_consumer_group_name}} {{error_type}}"},
			}},
			{title: "Given up", what: "Dead letters by consumer.", unit: "short", width: 24, queries: []query{
				{"sum by (messaging_consumer_group_name) (increase(armlet_dead_letters_total[$__rate_interval]))", "{{messaging_consumer_group_name}}"},
			}},
		}},
	})
}
