// smtp-server of npm. It takes what comes, and says it: a line of JSON on stdout for each message. Each line on stdin
// is a JSON of the replies that it gives to recipients: {rcpt: {ADDRESS: [CODE, TEXT]}, data: the same behind the
// message, before it has looked at it}. It ends with stdin.
const fs = require('fs');
const readline = require('readline');
const { SMTPServer } = require('smtp-server');

const [host, port, protocol, chain, key] = process.argv.slice(2);
let replies = { rcpt: {}, data: {} };

function refusal(reply) {
  return reply ? Object.assign(new Error(reply[1]), { responseCode: reply[0] }) : null;
}

const server = new SMTPServer({
  name: 'node.example',
  lmtp: protocol === 'lmtp',
  disabledCommands: ['AUTH'],
  disableReverseLookup: true,
  ...(chain ? { cert: fs.readFileSync(chain), key: fs.readFileSync(key) } : { hideSTARTTLS: true }),
  onRcptTo(address, session, callback) {
    callback(refusal(replies.rcpt[address.address]));
  },
  onData(stream, session, callback) {
    const { mailFrom, rcptTo } = session.envelope;
    const refused = refusal(replies.data[rcptTo[0].address]);
    if (refused) {
      stream.resume();
      callback(refused);
      return;
    }
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => {
      console.log(JSON.stringify({
        sender: mailFrom.address,
        options: mailFrom.args,
        recipients: rcptTo.map((to) => to.address),
        secure: session.secure,
        content: Buffer.concat(chunks).toString('base64'),
      }));
      callback(null, protocol === 'lmtp' ? rcptTo.map(() => 'taken') : 'taken');
    });
  },
});

server.on('error', (error) => console.error(error));
server.listen(Number(port), host, () => console.log('{}'));
readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    replies = JSON.parse(line);
    console.log('{}');
  })
  .on('close', () => process.exit(0));
