// Sends each message on to the queue `next`, in upper case.
#include "guest.h"

#include <string.h>

typedef exports_wasmrun_task_handler_failure_t failure_t;

// Sets the failure that rejects the message: no retry mends it. Returns false, as a failed `handle` does.
static bool reject(failure_t *failure, const char *reason) {
    failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_REJECT;
    guest_string_dup(&failure->val.reject, reason);
    return false;
}

// Converts an error of a queue: retried is what may work later, when the queue is back or the grant corrected.
static bool failed(failure_t *failure, const wasmrun_task_queue_error_t *error) {
    static const char *const names[] = {"access-denied", "invalid-message", "unavailable", "other"};
    if (error->tag == WASMRUN_TASK_QUEUE_ERROR_UNAVAILABLE || error->tag == WASMRUN_TASK_QUEUE_ERROR_ACCESS_DENIED) {
        failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_RETRY;
        failure->val.retry.delay_seconds.is_some = false;
        guest_string_dup(&failure->val.retry.reason, names[error->tag]);
        return false;
    }
    return reject(failure, names[error->tag]);
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
