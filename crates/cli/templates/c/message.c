// Sends each message on to the queue `next`, in upper case.
#define _GNU_SOURCE // asprintf
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef exports_wasmrun_task_handler_failure_t failure_t;

// Sets the failure that rejects the message: no retry mends it. Returns false, as a failed `handle` does.
static bool reject(failure_t *failure, const char *reason) {
    failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_REJECT;
    guest_string_dup(&failure->val.reject, reason);
    return false;
}

// Converts an error of the queue: retried is what may work later, when the queue is back or the grant corrected.
static bool failed(failure_t *failure, const wasmrun_task_queue_error_t *error) {
    guest_string_t why = {0};
    bool is_retried = false;
    switch (error->tag) {
    case WASMRUN_TASK_QUEUE_ERROR_UNAVAILABLE:
        guest_string_set(&why, "unavailable");
        is_retried = true;
        break;
    case WASMRUN_TASK_QUEUE_ERROR_ACCESS_DENIED:
        guest_string_set(&why, "access-denied");
        is_retried = true;
        break;
    case WASMRUN_TASK_QUEUE_ERROR_INVALID_MESSAGE: why = error->val.invalid_message; break;
    default: why = error->val.other;
    }
    char *reason;
    if (asprintf(&reason, "queue next: %.*s", (int)why.len, (const char *)why.ptr) < 0) abort();
    if (!is_retried) return reject(failure, reason);
    failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_RETRY;
    failure->val.retry.delay_seconds.is_some = false;
    guest_string_set(&failure->val.retry.reason, reason);
    return false;
}

// The memory of a task goes with the task, so nothing is freed here.
bool exports_wasmrun_task_handler_handle(exports_wasmrun_task_handler_own_message_t message, failure_t *failure) {
    guest_string_t body;
    wasmrun_task_message_method_message_body(wasmrun_task_message_borrow_message(message), &body);
    bool is_blank = true;
    for (size_t i = 0; i < body.len; i++) {
        if (strchr(" \t\r\n", body.ptr[i]) == NULL) is_blank = false;
        if (body.ptr[i] >= 'a' && body.ptr[i] <= 'z') body.ptr[i] -= 'a' - 'A';
    }
    if (is_blank) return reject(failure, "the message is blank");
    wasmrun_task_queue_error_t error;
    wasmrun_task_queue_own_queue_t next;
    guest_string_t alias, id;
    guest_string_set(&alias, "next");
    if (!wasmrun_task_queue_static_queue_open(&alias, &next, &error)) return failed(failure, &error);
    wasmrun_task_queue_outgoing_message_t outgoing = {.body = body};
    if (!wasmrun_task_queue_method_queue_send(wasmrun_task_queue_borrow_queue(next), &outgoing, &id, &error))
        return failed(failure, &error);
    return true;
}
