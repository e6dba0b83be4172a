// Package export_wasmrun_task_handler writes each announced text in upper case to the store `output`. The bindings name
// the package.
package export_wasmrun_task_handler

import (
	"fmt"
	"strings"
	"unicode/utf8"

	. "wit_component/wasmrun_task_handler"
	"wit_component/wasmrun_task_message"
	store "wit_component/wasmrun_task_object_store"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Handle handles one message.
func Handle(message *Message) wit.Result[wit.Unit, Failure] {
	objects := message.Objects()
	if len(objects) == 0 {
		return reject("the message announces no object")
	}
	for _, object := range objects {
		if object.Change == wasmrun_task_message.ChangeRemoved {
			continue
		}
		if failure := shout(object); failure != nil {
			return wit.Err[wit.Unit](*failure)
		}
		fmt.Println("wrote", object.Key)
	}
	return wit.Ok[wit.Unit, Failure](wit.Unit{})
}

func shout(announced wasmrun_task_message.AnnouncedObject) *Failure {
	source := announced.Key + " in store " + announced.Store
	input := store.StoreOpen(announced.Store)
	if input.IsErr() {
		return failed(source, input.Err())
	}
	object := input.Ok().Get(announced.Key, announced.Version)
	if object.IsErr() {
		return failed(source, object.Err())
	}
	content := object.Ok().Content
	if !utf8.Valid(content) {
		failure := MakeFailureReject(announced.Key + " is not UTF-8 text")
		return &failure
	}
	target := announced.Key + " in store output"
	output := store.StoreOpen("output")
	if output.IsErr() {
		return failed(target, output.Err())
	}
	options := store.PutOptions{ContentType: wit.Some("text/plain"), Condition: store.MakeConditionAlways()}
	written := output.Ok().Put(announced.Key, []byte(strings.ToUpper(string(content))), options)
	if written.IsErr() {
		return failed(target, written.Err())
	}
	return nil
}

func reject(reason string) wit.Result[wit.Unit, Failure] {
	return wit.Err[wit.Unit](MakeFailureReject(reason))
}

// failed converts an error of a store about an object: retried is what may work later, when the store is back or the
// grant corrected.
func failed(object string, err store.Error) *Failure {
	reason := object + ": " + name(err)
	failure := MakeFailureReject(reason)
	switch err.Tag() {
	case store.ErrorUnavailable, store.ErrorAccessDenied:
		failure = MakeFailureRetry(RetryRequest{DelaySeconds: wit.None[uint32](), Reason: reason})
	}
	return &failure
}

func name(err store.Error) string {
	switch err.Tag() {
	case store.ErrorNotFound:
		return "not-found"
	case store.ErrorAccessDenied:
		return "access-denied"
	case store.ErrorTooLarge:
		return "too-large"
	case store.ErrorPreconditionFailed:
		return "precondition-failed"
	case store.ErrorUnavailable:
		return "unavailable"
	default:
		return err.Other()
	}
}
