// Offline: queued without a server. `posternctl` starts it while no server runs, to check a spool, to
// export from one or to import into one, and speaks with it as with a server, on the inherited channel:
//
//   postern-queued --offline check SPOOL
//   postern-queued --offline export|import SPOOL HOSTNAME SEGMENT RESERVE STOP_INTAKE MAX_GAP
//
// (sizes in bytes, the gap in milliseconds). It takes the spool's lock, becomes the spool's owner where
// it is root, stands in queued's sandbox, and never delivers anything. A check changes no byte.
#pragma once

namespace postern::queued {

// The exit status. `argv[1]` is "--offline".
[[nodiscard]] int run_offline(int argc, char** argv);

}  // namespace postern::queued
