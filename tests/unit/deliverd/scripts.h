// Scripts of SMTP sessions as a next hop may lead them. Lines: "S " a reply line, "C " what the client
// must have said, "T" silence, "X" the connection ends. "C <body>" is a body with its final dot. The
// messages go first: "1" or "2" recipients each, "b" with eight bits, "L" of 5000 bytes, "d"
// with all that RFC 3461 lets its sender say, "p" for a probe.
#pragma once

namespace postern::relay {

struct Script {
  const char* name;
  const char* messages;
  const char* lines;
  const char* outcome;  // see Player::outcome()
};

#define GREET "S 220 mx.example ESMTP\nC EHLO us.example\n"
#define PLAIN GREET "S 250 mx.example\n"
#define PIPE GREET "S 250-mx.example\nS 250-PIPELINING\nS 250-SIZE 4000\nS 250 8BITMIME\n"
#define MAIL "C MAIL FROM:<a@us.example>\n"
#define RCPT1 "C RCPT TO:<r1@example.org>\n"
#define RCPT2 "C RCPT TO:<r2@example.org>\n"
#define GROUP1 "C MAIL FROM:<a@us.example> SIZE=100\n" RCPT1 "C DATA\n"
#define GROUP2 "C MAIL FROM:<a@us.example> SIZE=100\n" RCPT1 RCPT2 "C DATA\n"
#define QUIT "C QUIT\nS 221 bye\n"

inline constexpr Script kScripts[] = {
    // The greeting.
    {"greeting refused for now", "1", "S 450 busy\n", ""},
    {"greeting refused for good", "1", "S 554 no service\n", ""},
    {"greeting 421", "1", "S 421 too many connections\n", ""},
    {"greeting of an unknown class", "1", "S 120 wait\n", ""},
    {"greeting 354", "1", "S 354 go on\n", ""},
    {"greeting without a code", "1", "S hello there\n", ""},
    {"greeting of several lines", "1", "S 220-mx\nS 220-no spam\nS 220 ok\nC EHLO us.example\nX\n", ""},
    {"greeting of two codes", "1", "S 220-mx\nS 221 ok\n", ""},
    {"greeting never comes", "1", "T\n", ""},
    {"greeting and then nothing", "1", "X\n", ""},
    // EHLO and HELO.
    {"EHLO refused for now", "1", GREET "S 451 later\n", ""},
    {"EHLO 421", "1", GREET "S 421 bye\n", ""},
    {"EHLO unknown, HELO taken", "1",
     GREET "S 500 what?\nC HELO us.example\nS 250 hi\n" MAIL
           "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 354 go\nC <body>\nS 250 done\n" QUIT,
     "delivered"},
    {"EHLO unknown, HELO refused", "1", GREET "S 502 what?\nC HELO us.example\nS 550 no\n", ""},
    {"EHLO unanswered", "1", GREET "T\n", ""},
    {"EHLO answered 354", "1", GREET "S 354 go\n", ""},
    {"EHLO with odd features", "1",
     GREET "S 250-mx\nS 250-size\nS 250-X-\\NONSENSE \nS 250-PIPELININGS\nS 250\n"
           "C MAIL FROM:<a@us.example> SIZE=100\nX\n",
     "deferred connect"},
    // One message, command by command.
    {"plain delivery", "1",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 354 go\nC <body>\nS 250 2.0.0 queued as 1\n" QUIT,
     "delivered"},
    {"MAIL deferred", "1", PLAIN MAIL "S 451 4.3.0 later\n" QUIT, "deferred policy 451"},
    {"MAIL failed", "1", PLAIN MAIL "S 553 5.1.8 bad sender\n" QUIT, "failed policy 553"},
    {"MAIL 421", "1", PLAIN MAIL "S 421 4.7.0 not now\n", "deferred policy 421"},
    {"MAIL answered 354", "1", PLAIN MAIL "S 354 go\n", "deferred policy 354"},
    {"MAIL of an unknown class", "1", PLAIN MAIL "S 650 ?\n", "deferred policy 650"},
    {"MAIL malformed", "1", PLAIN MAIL "S 25x ok\n", "deferred connect"},
    {"MAIL silence", "1", PLAIN MAIL "T\n", "deferred connect"},
    {"MAIL end", "1", PLAIN MAIL "X\n", "deferred connect"},
    {"RCPT deferred", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 450 4.2.0 greylisted\n" QUIT,
     "deferred mailbox 450"},
    {"RCPT failed", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 550 5.1.1 unknown\n" QUIT,
     "failed mailbox 550"},
    {"RCPT failed by policy", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 550 5.7.1 listed\n" QUIT,
     "failed policy 550"},
    {"RCPT 421", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 421 bye\n", "deferred mailbox 421"},
    {"RCPT answered 354", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 354 go\n", "deferred mailbox 354"},
    {"RCPT too many", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 552 too many recipients\n" QUIT,
     "deferred mailbox 552"},
    {"RCPT too many, enhanced", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 552 5.5.3 too many\n" QUIT,
     "deferred mailbox 552"},
    {"RCPT mailbox full", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 552 5.2.2 full\n" QUIT,
     "failed mailbox 552"},
    {"RCPT 251 is taken", "1",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 251 will forward\nC DATA\nS 354 go\nC <body>\nS 250 ok\n" QUIT,
     "delivered"},
    {"RCPT end", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "X\n", "deferred connect"},
    {"RCPT one of two", "2",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 550 5.1.1 no\n" RCPT2
                "S 250 ok\nC DATA\nS 354 go\nC <body>\nS 250 ok\n" QUIT,
     "failed mailbox 550, delivered"},
    {"RCPT each for itself", "2",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 450 later\n" RCPT2 "S 550 no\n" QUIT,
     "deferred mailbox 450, failed mailbox 550"},
    {"DATA deferred", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 451 later\n" QUIT,
     "deferred data 451"},
    {"DATA failed", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 554 no\n" QUIT,
     "failed data 554"},
    {"DATA answered 250", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 250 ok\n",
     "deferred data 250"},
    {"DATA 421", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nS 421 bye\n",
     "deferred data 421"},
    {"DATA silence", "1", PLAIN MAIL "S 250 ok\n" RCPT1 "S 250 ok\nC DATA\nT\n", "deferred data"},
    {"dot deferred", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 451 4.3.0 later\n" QUIT,
     "deferred data 451"},
    {"dot failed", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 554 5.6.0 no\n" QUIT,
     "failed data 554"},
    {"dot failed by policy", "1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 550 5.7.1 spam\n" QUIT, "failed policy 550"},
    {"dot 421", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 421 bye\n",
     "deferred data 421"},
    {"dot answered 354", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 354 go\n",
     "deferred data 354"},
    {"dot of an unknown class", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 999 ?\n",
     "deferred data 999"},
    {"dot silence", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nT\n", "unknown data"},
    {"dot end", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nX\n", "unknown data"},
    {"dot malformed", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS thanks\n",
     "unknown data"},
    {"dot answered in part", "1", PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250-ok\nX\n",
     "unknown data"},
    // Pipelined.
    {"pipelined delivery", "2", PIPE GROUP2 "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" QUIT,
     "delivered, delivered"},
    {"pipelined, sender deferred", "1", PIPE GROUP1 "S 450 later\nS 503 no\nS 503 no\n" QUIT,
     "deferred policy 450"},
    {"pipelined, sender failed", "2", PIPE GROUP2 "S 550 no\nS 503 no\nS 503 no\nS 554 no\n" QUIT,
     "failed policy 550, failed policy 550"},
    {"pipelined, sender failed, 354 all the same", "1",
     PIPE GROUP1 "S 550 no\nS 503 no\nS 354 go\nC .\nS 554 empty\n" QUIT, "failed policy 550"},
    {"pipelined, sender failed, the rest taken", "1",
     PIPE GROUP1 "S 550 no\nS 250 ok\nS 354 go\nC .\nS 250 ok\n" QUIT, "failed policy 550"},
    {"pipelined, nobody taken", "2", PIPE GROUP2 "S 250 ok\nS 550 no\nS 450 later\nS 554 no one\n" QUIT,
     "failed mailbox 550, deferred mailbox 450"},
    {"pipelined, nobody taken, 354 all the same", "2",
     PIPE GROUP2 "S 250 ok\nS 550 no\nS 550 no\nS 354 go\nC .\nS 250 taken\n" QUIT,
     "failed mailbox 550, failed mailbox 550"},
    {"pipelined, nobody taken, lone dot 421", "1",
     PIPE GROUP1 "S 250 ok\nS 550 no\nS 354 go\nC .\nS 421 bye\n", "failed mailbox 550"},
    {"pipelined, nobody taken, lone dot unanswered", "1",
     PIPE GROUP1 "S 250 ok\nS 550 no\nS 354 go\nC .\nX\n", "failed mailbox 550"},
    {"pipelined, DATA failed", "2", PIPE GROUP2 "S 250 ok\nS 250 ok\nS 550 no\nS 554 no\n" QUIT,
     "failed data 554, failed mailbox 550"},
    {"pipelined, 421 among the recipients", "2", PIPE GROUP2 "S 250 ok\nS 550 no\nS 421 bye\n",
     "failed mailbox 550, deferred mailbox 421"},
    {"pipelined, end among the recipients", "2", PIPE GROUP2 "S 250 ok\nS 250 ok\nX\n",
     "deferred connect, deferred connect"},
    // Several messages.
    {"two messages", "1 1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" GROUP1
                 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" QUIT,
     "delivered | delivered"},
    {"no RSET behind a refused sender", "1 1", PLAIN MAIL "S 550 no\n" MAIL "S 550 no\n" QUIT,
     "failed policy 550 | failed policy 550"},
    {"RSET behind refused recipients", "1 1",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 550 no\nC RSET\nS 250 ok\n" MAIL "S 250 ok\n" RCPT1 "S 550 no\n" QUIT,
     "failed mailbox 550 | failed mailbox 550"},
    {"RSET in the group", "1 1",
     PIPE GROUP1 "S 250 ok\nS 550 no\nS 554 no one\nC RSET\n" GROUP1
                 "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" QUIT,
     "failed mailbox 550 | delivered"},
    {"RSET refused", "1 1", PIPE GROUP1 "S 250 ok\nS 550 no\nS 554 no\nC RSET\n" GROUP1 "S 500 what?\n",
     "failed mailbox 550 | deferred policy 500"},
    {"no RSET behind a refused dot", "1 1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 554 no\n" GROUP1 "X\n",
     "failed data 554 | deferred connect"},
    {"421 between messages", "1 1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" GROUP1 "S 421 enough\n",
     "delivered | deferred policy 421"},
    {"421 right behind the reply", "1 1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\nS 421 idle\n" GROUP1,
     "delivered | deferred policy 421"},
    // What is announced.
    {"larger than the next hop takes", "1L 1",
     PIPE GROUP1 "S 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 ok\n" QUIT, "failed policy | delivered"},
    {"no limit said", "1L",
     GREET "S 250-mx\nS 250 SIZE\nC MAIL FROM:<a@us.example> SIZE=5000\nX\n", "deferred connect"},
    {"limit 0 is none", "1L",
     GREET "S 250-mx\nS 250 SIZE 0\nC MAIL FROM:<a@us.example> SIZE=5000\nX\n", "deferred connect"},
    {"limit that is no number", "1L",
     GREET "S 250-mx\nS 250 SIZE lots\nC MAIL FROM:<a@us.example> SIZE=5000\nX\n", "deferred connect"},
    {"eight bits, offered", "1b",
     PIPE "C MAIL FROM:<a@us.example> SIZE=100 BODY=8BITMIME\n" RCPT1 "C DATA\nX\n", "deferred connect"},
    {"eight bits, not offered: just sent", "1b", PLAIN MAIL "X\n", "deferred connect"},
    {"reports, offered", "2d",
     GREET "S 250-mx\nS 250 DSN\nC MAIL FROM:<a@us.example> RET=HDRS ENVID=QQ+2B1\nS 250 ok\n"
     "C RCPT TO:<r1@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Br1@example.org\nS 250 ok\n"
     "C RCPT TO:<r2@example.org>\nX\n", "deferred connect, deferred connect"},
    {"reports, offered with pipelining", "1d",
     GREET "S 250-mx\nS 250-PIPELINING\nS 250 dsn\nC MAIL FROM:<a@us.example> RET=HDRS ENVID=QQ+2B1\n"
     "C RCPT TO:<r1@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Br1@example.org\nC DATA\nX\n",
     "deferred connect"},
    {"reports, not offered", "1d",
     GREET "S 250-mx\nS 250 SIZE\nC MAIL FROM:<a@us.example> SIZE=100\nS 250 ok\n" RCPT1 "X\n",
     "deferred connect"},
    {"reports that nobody asked for", "1",
     GREET "S 250-mx\nS 250 DSN\n" MAIL "S 250 ok\n" RCPT1 "X\n", "deferred connect"},
    {"features in lower case", "1",
     GREET "S 250-mx\nS 250-pipelining\nS 250 size 4000\n" GROUP1 "X\n", "deferred connect"},
    {"QUIT unanswered", "1", PLAIN MAIL "S 550 no\nC QUIT\nX\n", "failed policy 550"},
    // Probes.
    {"a probe, command by command", "2p",
     PLAIN MAIL "S 250 ok\n" RCPT1 "S 251 will forward\n" RCPT2 "S 550 5.1.1 no\n" QUIT,
     "delivered, failed mailbox 550"},
    {"probes, pipelined", "2p1p",
     PIPE MAIL RCPT1 RCPT2 "S 250 ok\nS 450 4.2.0 later\nS 250 ok\n"
          "C RSET\n" MAIL RCPT1 "S 250 ok\nS 250 ok\nS 553 no\n" QUIT,
     "deferred mailbox 450, delivered | failed mailbox 553"},
    {"a probe whose sender is refused", "1p", PLAIN MAIL "S 550 5.7.1 no bounces\n" QUIT,
     "deferred policy 550"},
    {"a probe whose sender is refused, pipelined", "1p",
     PIPE MAIL RCPT1 "S 550 5.7.1 no bounces\nS 503 no sender\n" QUIT, "deferred policy 550"},
    {"a probe that is not answered", "1p", PLAIN MAIL "S 250 ok\n" RCPT1 "T\n", "deferred connect"},
    {"a probe that is told off", "1p", PLAIN MAIL "S 250 ok\n" RCPT1 "S 421 4.7.0 go\n",
     "deferred policy 421"},
    {"a message behind a probe", "1p1",
     PIPE MAIL RCPT1 "S 250 ok\nS 250 ok\nC RSET\n" GROUP1
          "S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nC <body>\nS 250 done\n" QUIT,
     "delivered | delivered"},
};

#undef GREET
#undef PLAIN
#undef PIPE
#undef MAIL
#undef RCPT1
#undef RCPT2
#undef GROUP1
#undef GROUP2
#undef QUIT

}  // namespace postern::relay
