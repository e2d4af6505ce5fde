// Every message between Postern's processes, each declared once: route, window, reply, fields with
// their limits. These pages are the whole conversation. A channel delivers only what its route allows.
#pragma once

#include "common/ipc/collect.h"
#include "common/ipc/control.h"
#include "common/ipc/delivery.h"
#include "common/ipc/explain.h"
#include "common/ipc/family.h"
#include "common/ipc/login.h"
#include "common/ipc/mailbox.h"
#include "common/ipc/policies.h"
#include "common/ipc/signing.h"
#include "common/ipc/spool.h"
#include "common/ipc/submission.h"

namespace postern::ipc {

// Every message, in the order of Type.
using AllMessages =
    std::tuple<Hello, Boot, Configure, Configured, Peer, PeerLost, Listen, Tally, Ready, Stop, Processes, AskSocket, Socket,
               AskMailbox, MailboxReady, DropMailbox, Unable, Submit,
               SubmitRecipients, SubmitBody, Submitted, AskToken, TokenResult, OpenLarge, LargeOpened,
               AbandonLarge, Intake, AskRecipient, RecipientKnown, AskName, NameKnown, StartQueue, QueueStarted, TurnSession, SessionTurned, Sign, Signed, TicketKeys,
               Login, LoginResponse, UserLogin, LoginAnswer, EndLogin, Ticket, TicketTaken, DropTicket, EndAccount, HeldLeases, Grant, HopFound, GoAhead, CancelGrant,
               GrantEnded, AskWork, Lease, LeaseBody, NoWork, Outcome, OutcomeSaved, BreakOff, Probe, Probed,
               Collect, EndCollect, TurnedRound, Collected, ServeTurned,
               FileMail, FileBody, MailFiled, AskPolicy, PolicySaid,
               AskStatus, Status, ListQueues, QueueRows,
               ListMessages, MessageRows, Show, Shown, AskBody, BodyPart, ListBlocks, BlockRows,
               ListHistory, HistoryRows, Freeze, Unfreeze, SwitchOutbound,
               SwitchIntake, AwaitQuiet, Quiet, Hold, LockAccount, Retry, Reload, StopServer,
               Explain, Explained, ExplainQueue, QueueExplained,
               CheckSpool, SpoolFindings, ExportSpool, ExportPart, RemoveExported, ImportSpool, SpoolDone,
               Done>;

// The log name of a message type: "submit", "lease_body".
[[nodiscard]] std::string_view name(Type type);
// A hash of all names, routes and field lists: two processes understand each other only if it is equal.
[[nodiscard]] std::uint64_t shapes_hash();

}  // namespace postern::ipc
