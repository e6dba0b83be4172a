// Package export_wasmrun_task_handler sends each message on to the queue `next`, in upper case. The bindings name the
// package.
package export_wasmrun_task_handler

import (
	"fmt"
	"strings"

	. "wit_component/wasmrun_task_handler"
	queue "wit_component/wasmrun_task_queue"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Handle handles one message.
func Handle(message *Message) wit.Result[wit.Unit, Failure] {
	body := message.Body()
	if strings.TrimSpace(body) == "" {
		return wit.Err[wit.Unit](MakeFailureReject("the message is blank"))
	}
	next := queue.QueueOpen("next")
	if next.IsErr() {
		return failed(next.Err())
	}
	sent := next.Ok().Send(queue.OutgoingMessage{Body: strings.ToUpper(body)})
	if sent.IsErr() {
		return failed(sent.Err())
	}
	fmt.Println("sent", sent.Ok())
	return wit.Ok[wit.Unit, Failure](wit.Unit{})
}

// failed converts an error of the queue: retried is what may work later, when the queue is back or the grant corrected.
func failed(err queue.Error) wit.Result[wit.Unit, Failure] {
	switch err.Tag() {
	case queue.ErrorUnavailable:
		return retry("queue next: unavailable")
	case queue.ErrorAccessDenied:
		return retry("queue next: access-denied")
	case queue.ErrorInvalidMessage:
		return wit.Err[wit.Unit](MakeFailureReject("queue next: " + err.InvalidMessage()))
	default:
		return wit.Err[wit.Unit](MakeFailureReject("queue next: " + err.Other()))
	}
}

func retry(reason string) wit.Result[wit.Unit, Failure] {
	return wit.Err[wit.Unit](MakeFailureRetry(RetryRequest{Reason: reason}))
}
