/*
 * The sentences by which mail systems are known, as one table.
 *
 * They were collected from the documentation and the output of the systems, and each is short enough to survive
 * a new release and long enough not to be said by people in passing. Matching is by substring in a text folded to lower
 * case and single spaces (check/phrase_index.h), so that the length of the table costs nothing.
 *
 * Rejected: regular expressions (time that depends on the text), one table per product (most sentences are shared, and a
 * product that is not known would be missed).
 */
#include "check/notice_part.h"

#include "check/phrase_index.h"

#define F SAYS_FAILED
#define X SAYS_FAULT
#define D SAYS_DELAYED

static const struct phrase phrases[] = {
	/* qmail, Exim, Postfix, Sendmail, Courier, OpenSMTPD */
	{ "i'm afraid i wasn't able to deliver", F },
	{ "i wasn't able to deliver", F },
	{ "i was unable to deliver", F },
	{ "this is a permanent error", F },
	{ "this message was created automatically by mail delivery", F },
	{ "this message was created automatically by the mail", F },
	{ "this report was generated automatically", F },
	{ "created automatically by mail delivery", F },
	{ "a message that you sent could not be delivered", F },
	{ "a message that you sent contained", F },
	{ "a message that you sent was rejected", F },
	{ "a message sent by", 0 },
	{ "could not be delivered to", F },
	{ "could not be delivered", F },
	{ "can not be delivered", F },
	{ "cannot be delivered", F },
	{ "couldn't be delivered", F },
	{ "can't be delivered", F },
	{ "not be delivered", F },
	{ "has not been delivered", F },
	{ "was not delivered", F },
	{ "wasn't delivered", F },
	{ "were not delivered", F },
	{ "not delivered to", F },
	{ "unable to deliver", F },
	{ "unable to be delivered", F },
	{ "not able to deliver", F },
	{ "could not deliver", F },
	{ "couldn't deliver", F },
	{ "cannot deliver", F },
	{ "failed to deliver", F },
	{ "failed to be delivered", F },
	{ "failed after i sent the message", F },
	{ "the following address(es) failed", F },
	{ "the following addresses failed", F },
	{ "the following recipients failed", F },
	{ "delivery errors", F },
	{ "permanent fatal errors", F },
	{ "fatal errors", F },
	{ "delivery problems", F },
	{ "problems delivering", F },
	{ "problem delivering", F },
	{ "error delivering", F },
	{ "transcript of session follows", F },
	{ "transcript of the session", F },
	{ "this is the mail system at host", F },
	{ "this is the postfix program", F },
	{ "this is the mailer-daemon", F },
	{ "this is the mail delivery", F },
	{ "this is the qmail", F },
	{ "this is a delivery failure", F },
	{ "delivery failure", F },
	{ "delivery error", F },
	{ "delivery failed", F },
	{ "failed delivery", F },
	{ "non-delivery", F },
	{ "nondelivery", F },
	{ "undeliverable", F },
	{ "undelivered", F },
	{ "attempting to deliver a message", F },
	{ "an error has occurred while attempting to deliver", F },
	{ "permanently failed", F },
	{ "failed permanently", F },
	{ "failed to send", F },
	{ "the mail system", 0 },
	/* Exchange, Office 365, Domino, GroupWise, Notes, InterScan and others */
	{ "did not reach the following recipient", F },
	{ "did not reach some or all", F },
	{ "delivery has failed to these", F },
	{ "delivery to the following recipient", F },
	{ "delivery to these recipients", F },
	{ "delivery to the following", F },
	{ "your message wasn't delivered", F },
	{ "your message couldn't be", F },
	{ "your message was not", F },
	{ "your message did not", F },
	{ "your mail cannot", F },
	{ "your mail could not", F },
	{ "your mail to the following recipients", F },
	{ "the e-mail account does not exist", F | X },
	{ "failure reasons", F },
	{ "failed recipient", F },
	{ "failed addresses", F },
	{ "failed address", F },
	{ "message delivery has failed", F },
	{ "message delivery failed", F },
	{ "message was undeliverable", F },
	{ "message undeliverable", F },
	{ "returned mail", F },
	{ "returned to sender", F },
	{ "returning message to sender", F },
	{ "bounced message", F },
	{ "bounce message", F },
	{ "message bounced", F },
	{ "this is a bounce", F },
	{ "automated error reply", F },
	{ "nameserver error report", F },
	{ "error report", F },
	{ "was rejected by", F },
	{ "was rejected for", F },
	{ "was rejected due to", F },
	{ "has been rejected by", F },
	{ "has been rejected", F },
	{ "rejected your message", F },
	{ "rejected the message", F },
	{ "message was rejected", F },
	{ "message rejected", F },
	{ "message blocked", F },
	{ "message not delivered", F },
	{ "address not found", F },
	{ "address couldn't be found", F },
	{ "recipient inbox full", F },
	{ "mail is being returned", F },
	{ "error message below", F },
	{ "your message is being returned", F },
	{ "message is being returned", F },
	{ "mail delivery failed", F },
	{ "remote host said", F },
	{ "remote server returned", F },
	{ "recipient's mailbox", X },
	{ "exceeds allowed size", F | X },
	{ "exceeding its mailbox quota", F | X },
	{ "inform you on the delivery status", F },
	{ "recipients was rejected by", F },
	{ "the following recipients were affected", F },
	{ "cannot send your message", F },
	{ "mail address is unknown", F },
	{ "answer from remote host", F },
	{ "non-delivery report", F },
	{ "unable to relay", F },
	{ "not been delivered to", F },
	{ "delivery has failed", F },
	{ "delivery to the recipient failed", F },
	{ "address was not found", F },
	{ "address wasn't found", F },
	{ "unable to send", F },
	{ "your email was not", F },
	{ "your e-mail was not", F },
	{ "your e-mail could not", F },
	{ "your email could not", F },
	{ "message to the following address", F },
	{ "following address had", F },
	{ "following recipients could not", F },
	{ "following recipient could not", F },
	{ "recipients were not reached", F },
	{ "recipient was not reached", F },
	{ "recipients could not be reached", F },
	{ "undelivered message", F },
	{ "nondeliverable", F },
	{ "not deliverable", F },
	{ "permanent failure", F },
	{ "rejected your mail", F },
	{ "refused to accept", F },
	{ "was refused by", F },
	{ "bounced back", F },
	{ "returned message", F },
	{ "delivery report", 0 },
	/* faults */
	{ "user unknown", X },
	{ "unknown user", X },
	{ "no such user", X },
	{ "unknown recipient", X },
	{ "recipient unknown", X },
	{ "user not found", X },
	{ "user is unknown", X },
	{ "unrouteable address", X },
	{ "unrouteable mail domain", X },
	{ "no mailbox here by that name", X },
	{ "no such mailbox", X },
	{ "invalid user address", X },
	{ "requested action not taken", X },
	{ "mailbox disabled", X },
	{ "550 5.", X },
	{ "550-5.", X },
	{ "553 5.", X },
	{ "554 5.", X },
	{ "552 5.", X },
	{ "mailbox unavailable", X },
	{ "mailbox not found", X },
	{ "mailbox full", X },
	{ "mailbox is full", X },
	{ "mail box space not enough", X },
	{ "over quota", X },
	{ "quota exceeded", X },
	{ "exceeded storage", X },
	{ "exceeded its quota", X },
	{ "does not exist", X },
	{ "doesn't exist", X },
	{ "host unknown", X },
	{ "unknown host", X },
	{ "not listed in", X },
	{ "relay access denied", X },
	{ "relaying denied", X },
	{ "too many hops", X },
	{ "name is not recognized", X },
	{ "doesn't have a", X },
	{ "no longer exists", X },
	{ "no longer valid", X },
	/* German, French, Spanish, Portuguese, Italian, Dutch, Nordic, Slavic, Turkish, East Asian */
	{ "nicht zugestellt", F },
	{ "unzustellbar", F },
	{ "nicht zustellbar", F },
	{ "konnte nicht zugestellt", F },
	{ "nicht \xc3\xbc" "bermittelt werden", F },
	{ "nicht ausgeliefert", F },
	{ "n'est pas parvenu", F },
	{ "n'a pas \xc3\xa9t\xc3\xa9 d\xc3\xa9livr\xc3\xa9", F },
	{ "n'a pu \xc3\xaatre remis", F },
	{ "no se puede entregar", F },
	{ "no fue entregado", F },
	{ "no se entreg\xc3\xb3", F },
	{ "n\xc3\xa3o \xc3\xa9 poss\xc3\xadvel entregar", F },
	{ "n\xc3\xa3o p\xc3\xb4" "de ser enviada", F },
	{ "mensagem n\xc3\xa3o entregue", F },
	{ "non recapitabile", F },
	{ "non \xc3\xa8 stato consegnato", F },
	{ "kan niet worden bezorgd", F },
	{ "onbestelbaar", F },
	{ "olevererbart", F },
	{ "kan ikke leveres", F },
	{ "kan inte levereras", F },
	{ "toimitus ep\xc3\xa4onnistui", F },
	{ "nie mo\xc5\xbcna by\xc5\x82o dostarczy\xc4\x87", F },
	{ "niedostarczon", F },
	{ "nedoru\xc4\x8d", F },
	{ "nedor\xc3\xbc", F },
	{ "iletilemedi", F },
	{ "ne peut \xc3\xaatre remis", F },
	{ "nu a putut fi livrat", F },
	{ "zustellung fehlgeschlagen", F },
	{ "konnte nicht \xc3\xbc" "bermittelt", F },
	{ "fehler bei der zustellung", F },
	{ "n'a pas pu \xc3\xaatre", F },
	{ "n'ont pas pu \xc3\xaatre", F },
	{ "n'a pas \xc3\xa9t\xc3\xa9 remis", F },
	{ "\xc3\xa9" "chec de la remise", F },
	{ "\xc3\xa9" "chec de remise", F },
	{ "remise diff\xc3\xa9r\xc3\xa9" "e", D },
	{ "non remis", F },
	{ "n'a pas pu etre", F },
	{ "no se pudo entregar", F },
	{ "no se ha podido entregar", F },
	{ "no se pudieron entregar", F },
	{ "no ha podido ser entregado", F },
	{ "no pudo ser entregado", F },
	{ "error de entrega", F },
	{ "n\xc3\xa3o p\xc3\xb4" "de ser entregue", F },
	{ "n\xc3\xa3o foi poss\xc3\xadvel entregar", F },
	{ "n\xc3\xa3o foi entregue", F },
	{ "falha na entrega", F },
	{ "falha ao entregar", F },
	{ "impossibile recapitare", F },
	{ "impossibile consegnare", F },
	{ "non \xc3\xa8 stato possibile consegnare", F },
	{ "non \xc3\xa8 stato recapitato", F },
	{ "mancata consegna", F },
	{ "mancato recapito", F },
	{ "niet worden bezorgd", F },
	{ "niet bezorgd", F },
	{ "niet worden afgeleverd", F },
	{ "kunde inte levereras", F },
	{ "kunne ikke leveres", F },
	{ "ei voitu toimittaa", F },
	{ "nie mo\xc5\xbcna dostarczy\xc4\x87", F },
	{ "nie zosta\xc5\x82" "a dostarczona", F },
	{ "nelze doru\xc4\x8dit", F },
	{ "nebylo mo\xc5\xbcn\xc3\xa9 doru\xc4\x8dit", F },
	{ "k\xc3\xa9zbes\xc3\xadthetetlen", F },
	{ "teslim edilemedi", F },
	{ "\xd0\xbd\xd0\xb5 \xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2\xd0\xbb\xd0\xb5\xd0\xbd\xd0\xbe", F },
	{ "\xd0\xbd\xd0\xb5 \xd0\xbc\xd0\xbe\xd0\xb6\xd0\xb5\xd1\x82 \xd0\xb1\xd1\x8b\xd1\x82\xd1\x8c "
	  "\xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2\xd0\xbb\xd0\xb5\xd0\xbd\xd0\xbe", F },
	{ "\xd0\xbd\xd0\xb5 \xd0\xb1\xd1\x8b\xd0\xbb\xd0\xbe \xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2", F },
	{ "\xd0\xbd\xd0\xb5\xd0\xb2\xd0\xbe\xd0\xb7\xd0\xbc\xd0\xbe\xd0\xb6\xd0\xbd\xd0\xbe "
	  "\xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2\xd0\xb8\xd1\x82\xd1\x8c", F },
	{ "\xe9\x85\x8d\xe4\xbf\xa1\xe3\x81\xa7\xe3\x81\x8d\xe3\x81\xbe\xe3\x81\x9b\xe3\x82\x93", F },	/* haishin dekimasen */
	{ "\xe9\x85\x8d\xe4\xbf\xa1\xe4\xb8\x8d\xe8\x83\xbd", F },
	{ "\xe9\x80\x80\xe4\xbf\xa1", F },		/* tuixin */
	{ "\xe6\x9c\xaa\xe9\x80\x81\xe8\xbe\xbe", F },	/* weisongda */
	{ "\xe6\x8a\x95\xe9\x80\x92\xe5\xa4\xb1\xe8\xb4\xa5", F },
	{ "\xe5\x82\xb3\xe9\x81\x9e\xe5\xa4\xb1\xe6\x95\x97", F },
	{ "\xe7\x84\xa1\xe6\xb3\x95\xe5\x82\xb3\xe9\x81\x9e", F },
	{ "\xe9\x80\x81\xe4\xbf\xa1\xe3\x81\xa7\xe3\x81\x8d\xe3\x81\xbe\xe3\x81\x9b\xe3\x82\x93", F },	/* soushin dekimasen */
	{ "\xec\xa0\x84\xeb\x8b\xac\xeb\x90\x98\xec\xa7\x80", F },
	{ "\xe6\x97\xa0\xe6\xb3\x95\xe6\x8a\x95\xe9\x80\x92", F },
	{ "\xeb\xb0\x98\xec\x86\xa1", F },		/* bansong */
	/* delay */
	{ "warning message only", D },
	{ "you do not need to resend", D },
	{ "will continue to try", D },
	{ "will keep trying", D },
	{ "continue trying to deliver", D },
	{ "delivery attempts will continue", D },
	{ "has not yet been delivered", D },
	{ "not yet delivered", D },
	{ "have not yet been", D },
	{ "delivery is delayed", D },
	{ "has been delayed", D },
	{ "message delayed", D },
	{ "delivery delayed", D },
	{ "temporarily delayed", D },
	{ "no action is required on your part", D },
	{ "transient non-fatal errors", D },
	{ "will be retried", D },
	{ "delivery incomplete", D },
	{ "is delayed for more than", D },
	{ "only a temporary failure", D },
	{ "delivery attempts will continue", D },
	{ "temporary delivery failure", D },
	{ "still in the queue", D },
	{ "still being attempted", D },
	{ "delivery to the following recipients has been delayed", D },
	{ "noch nicht zugestellt", D },
	/* delivered */
	{ "was successfully delivered", SAYS_DELIVERED },
	{ "has been successfully delivered", SAYS_DELIVERED },
	{ "successfully delivered to", SAYS_DELIVERED },
	{ "successfully relayed to", SAYS_DELIVERED },
	{ "had successful delivery notifications", SAYS_DELIVERED },
	{ "your message was delivered to", SAYS_DELIVERED },
	{ "has been delivered to the following", SAYS_DELIVERED },
	/* displayed */
	{ "this is a receipt for the mail", SAYS_READ },
	{ "this is a return receipt for the mail", SAYS_READ },
	{ "this return receipt only acknowledges", SAYS_READ },
	{ "your message was read on", SAYS_READ },
	/* vacation */
	{ "out of the office", SAYS_AUTO_REPLY },
	{ "out of office", SAYS_AUTO_REPLY },
	{ "on vacation", SAYS_AUTO_REPLY },
	{ "on holiday", SAYS_AUTO_REPLY },
	{ "on annual leave", SAYS_AUTO_REPLY },
	{ "automatic reply", SAYS_AUTO_REPLY },
	{ "automatic response", SAYS_AUTO_REPLY },
	{ "automated reply", SAYS_AUTO_REPLY },
	{ "automated response", SAYS_AUTO_REPLY },
	{ "auto-reply", SAYS_AUTO_REPLY },
	{ "autoreply", SAYS_AUTO_REPLY },
	{ "auto reply", SAYS_AUTO_REPLY },
	{ "autoresponder", SAYS_AUTO_REPLY },
	{ "auto-response", SAYS_AUTO_REPLY },
	{ "away from my", SAYS_AUTO_REPLY },
	{ "away from the office", SAYS_AUTO_REPLY },
	{ "not in the office", SAYS_AUTO_REPLY },
	{ "thank you for your e-mail", SAYS_AUTO_REPLY },
	{ "thank you for your email", SAYS_AUTO_REPLY },
	{ "thank you for contacting", SAYS_AUTO_REPLY },
	{ "thank you for your message", SAYS_AUTO_REPLY },
	{ "we have received your", SAYS_AUTO_REPLY },
	{ "your email has been received", SAYS_AUTO_REPLY },
	{ "abwesenheit", SAYS_AUTO_REPLY },
	{ "absence du bureau", SAYS_AUTO_REPLY },
	{ "fuera de la oficina", SAYS_AUTO_REPLY },
	{ "fuori ufficio", SAYS_AUTO_REPLY },
	{ "fuori sede", SAYS_AUTO_REPLY },
	{ "fora do escrit\xc3\xb3rio", SAYS_AUTO_REPLY },
	{ "poza biurem", SAYS_AUTO_REPLY },
	{ "automaattinen vastaus", SAYS_AUTO_REPLY },
	{ "autosvar", SAYS_AUTO_REPLY },
	{ "automatisk svar", SAYS_AUTO_REPLY },
	{ "automatiskt svar", SAYS_AUTO_REPLY },
	{ "fr\xc3\xa5nvaro", SAYS_AUTO_REPLY },
	{ "afwezig", SAYS_AUTO_REPLY },
	{ "automatick\xc3\xa1 odpov", SAYS_AUTO_REPLY },
	{ "automatyczna odpowied", SAYS_AUTO_REPLY },
	{ "otomatik yan\xc4\xb1t", SAYS_AUTO_REPLY },
	{ "\xd0\xb0\xd0\xb2\xd1\x82\xd0\xbe\xd0\xbc\xd0\xb0\xd1\x82\xd0\xb8\xd1\x87\xd0\xb5\xd1\x81\xd0\xba\xd0\xb8\xd0\xb9 \xd0\xbe\xd1\x82\xd0\xb2\xd0\xb5\xd1\x82", SAYS_AUTO_REPLY },
	{ "\xe8\x87\xaa\xe5\x8a\xa8\xe7\xad\x94\xe5\xa4\x8d", SAYS_AUTO_REPLY },
	{ "\xe8\x87\xaa\xe5\x8b\x95\xe5\x9b\x9e", SAYS_AUTO_REPLY },
	{ "nicht im b\xc3\xbcro", SAYS_AUTO_REPLY },
	{ "automatische antwort", SAYS_AUTO_REPLY },
	{ "r\xc3\xa9ponse automatique", SAYS_AUTO_REPLY },
	{ "respuesta autom\xc3\xa1tica", SAYS_AUTO_REPLY },
	{ "resposta autom\xc3\xa1tica", SAYS_AUTO_REPLY },
	{ "risposta automatica", SAYS_AUTO_REPLY },
	{ "automatisch antwoord", SAYS_AUTO_REPLY },
	{ "\xe8\x87\xaa\xe5\x8b\x95\xe8\xbf\x94\xe4\xbf\xa1", SAYS_AUTO_REPLY },
	{ "\xe8\x87\xaa\xe5\x8a\xa8\xe5\x9b\x9e\xe5\xa4\x8d", SAYS_AUTO_REPLY },
	{ "\xd0\xb0\xd0\xb2\xd1\x82\xd0\xbe\xd0\xbe\xd1\x82\xd0\xb2\xd0\xb5\xd1\x82", SAYS_AUTO_REPLY },
	/* challenge */
	{ "confirm your message", SAYS_CHALLENGE },
	{ "confirm that you", SAYS_CHALLENGE },
	{ "confirm your email", SAYS_CHALLENGE },
	{ "confirm your e-mail", SAYS_CHALLENGE },
	{ "confirm delivery of your", SAYS_CHALLENGE },
	{ "reply to this message to confirm", SAYS_CHALLENGE },
	{ "reply to this confirmation", SAYS_CHALLENGE },
	{ "pending your confirmation", SAYS_CHALLENGE },
	{ "sender verification", SAYS_CHALLENGE },
	{ "verify your message", SAYS_CHALLENGE },
	{ "verify that you are", SAYS_CHALLENGE },
	{ "please verify yourself", SAYS_CHALLENGE },
	{ "you are a human", SAYS_CHALLENGE },
	{ "you are not a spammer", SAYS_CHALLENGE },
	{ "requires verification", SAYS_CHALLENGE },
	{ "approved sender", SAYS_CHALLENGE },
	{ "boxtrapper", SAYS_CHALLENGE },
	{ "has been waitlisted", SAYS_CHALLENGE },
	{ "guest list so your messages", SAYS_CHALLENGE },
	/* virus */
	{ "virus alert", SAYS_VIRUS },
	{ "viren", SAYS_VIRUS },
	{ "banned attachment", SAYS_VIRUS },
	{ "blocked attachment", SAYS_VIRUS },
	{ "banned file", SAYS_VIRUS },
	{ "virus was found", SAYS_VIRUS },
	{ "virus found", SAYS_VIRUS },
	{ "virus detected", SAYS_VIRUS },
	{ "found virus", SAYS_VIRUS },
	{ "virus in", SAYS_VIRUS },
	{ "virus infection", SAYS_VIRUS },
	{ "infected with", SAYS_VIRUS },
	{ "infected by", SAYS_VIRUS },
	{ "antivirus", SAYS_VIRUS },
	{ "anti-virus", SAYS_VIRUS },
	{ "a virus", SAYS_VIRUS },
	{ "the virus", SAYS_VIRUS },
	{ "warning: e-mail viruses", SAYS_VIRUS },
	{ "viruses detected", SAYS_VIRUS },
	/* complaint */
	{ "complaint about spam", SAYS_COMPLAINT },
	{ "spam complaint", SAYS_COMPLAINT },
	{ "abuse report", SAYS_COMPLAINT },
	{ "abuse complaint", SAYS_COMPLAINT },
	{ "unsolicited bulk email from your", SAYS_COMPLAINT },
	{ "spamcop", SAYS_COMPLAINT },
	{ "reported as spam", SAYS_COMPLAINT },
	{ "complaint about message from", SAYS_COMPLAINT },
	{ "\"notificationtype\":\"complaint\"", SAYS_COMPLAINT },
	{ "\"eventtype\":\"complaint\"", SAYS_COMPLAINT },
	/* list managers and other programs */
	{ "awaits moderator approval", SAYS_NOTICE },
	{ "is being held until the list moderator", SAYS_NOTICE },
	{ "not allowed to post to this", SAYS_NOTICE },
	{ "results of your email command", SAYS_NOTICE },
	{ "your membership in the mailing list", SAYS_NOTICE },
	{ "administrivia", SAYS_NOTICE },
	{ "administrator notification", SAYS_NOTICE },
	{ "posting is not allowed", SAYS_NOTICE },
	{ "not subscribed to this list", SAYS_NOTICE },
	{ "bounce action notification", SAYS_NOTICE },
	{ "has been frozen", SAYS_NOTICE },
	{ "message frozen", SAYS_NOTICE },
	{ "error(s) in forwarding or filtering", SAYS_NOTICE },
	{ NULL, 0 },
};

#undef F
#undef X
#undef D

/* Phrases whose subject says more than the same words in a text. */
static const struct phrase subjects[] = {
	{ "failure notice", SAYS_FAILED },
	{ "mail failure", SAYS_FAILED },
	{ "mail error", SAYS_FAILED },
	{ "mail system error", SAYS_FAILED },
	{ "mail delivery problem", SAYS_FAILED },
	{ "mail delivery error", SAYS_FAILED },
	{ "delivery status notification", SAYS_FAILED },
	{ "delivery notification", SAYS_FAILED },
	{ "delivery failure", SAYS_FAILED },
	{ "mail status report", SAYS_FAILED },
	{ "email bounce", SAYS_FAILED },
	{ "bounced mail", SAYS_FAILED },
	{ "could not send message", SAYS_FAILED },
	{ "mail not delivered", SAYS_FAILED },
	{ "mail delivery status", SAYS_FAILED },
	{ "mail failed", SAYS_FAILED },
	{ "(delay)", SAYS_DELAYED },
	{ "verz\xc3\xb6gert", SAYS_DELAYED },
	{ "retard\xc3\xa9", SAYS_DELAYED },
	{ "retrasad", SAYS_DELAYED },
	{ "ndn:", SAYS_FAILED },
	{ "rejected:", SAYS_FAILED },
	{ "delayed", SAYS_DELAYED },
	{ "delayed mail", SAYS_DELAYED },
	{ "notification: warning", SAYS_DELAYED },
	{ "delivery status notification (delay", SAYS_DELAYED },
	{ "delivery status notification (success", SAYS_DELIVERED },
	{ "return receipt", SAYS_READ },
	{ "auto:", SAYS_AUTO_REPLY },
	{ "auto response", SAYS_AUTO_REPLY },
	{ "vacation", SAYS_AUTO_REPLY },
	{ "ooo:", SAYS_AUTO_REPLY },
	{ NULL, 0 },
};

/* ---- matching ---- */

_Static_assert(sizeof(phrases) / sizeof(phrases[0]) <= PHRASES_MAX, "the index has room for all phrases");

static void note(void *arg, const struct phrase *p, size_t length, size_t at)
{
	struct said *found = arg;

	if (found->first.n == 0 && (p->bits & ~(unsigned)SAYS_FAULT)) {
		found->first = slice_make(p->text, length);
		found->at = at;
	}
	found->bits |= p->bits;
}

struct said phrases_in_text(struct slice folded)
{
	static struct phrase_index index;
	struct said found = { .bits = 0 };

	phrase_index_build(&index, phrases, ~0u);
	phrase_index_search(&index, folded, note, &found);
	return found;
}

bool phrases_challenge(struct slice folded)
{
	static struct phrase_index index;
	struct said found = { .bits = 0 };

	phrase_index_build(&index, phrases, SAYS_CHALLENGE);
	phrase_index_search(&index, folded, note, &found);
	return found.bits != 0;
}

struct said phrases_in_subject(struct slice folded)
{
	static struct phrase_index index;
	struct said in_text = phrases_in_text(folded), in_subject = { .bits = 0 };

	phrase_index_build(&index, subjects, ~0u);
	phrase_index_search(&index, folded, note, &in_subject);
	if (in_text.first.n == 0)
		in_text.first = in_subject.first;
	in_text.bits |= in_subject.bits;
	return in_text;
}

struct slice phrases_fold(struct arena *a, struct slice text, size_t room)
{
	struct folding f = { .room = text.n < room ? text.n : room };

	f.p = arena_alloc(a, f.room + 1);
	folding_add(&f, text);
	return slice_make(f.p, f.n);
}

/* ---- what announces the returned message ---- */

static const struct phrase markers[] = {
	{ "copy of the message", 1 }, { "copy of your message", 1 }, { "copy of the original", 1 },
	{ "copy of the body", 1 }, { "original message", 1 }, { "returned message", 1 }, { "unsent message", 1 },
	{ "message text follows", 1 }, { "message header", 1 }, { "headers of the", 1 }, { "header of the", 1 },
	{ "header of source", 1 }, { "below this line", 1 }, { "original mail", 1 }, { "returned mail", 1 },
	{ "message follows", 1 }, { "mail follows", 1 }, { "headers follow", 1 }, { "header follows", 1 },
	{ "message is attached", 1 }, { "message returned", 1 }, { "undelivered message", 1 }, { "text of the message", 1 },
	{ "message contents", 1 }, { "contents of the message", 1 }, { "message content", 1 }, { "begin of message", 1 },
	{ "start of message", 1 }, { "message body follows", 1 }, { "included message", 1 }, { "your message reads", 1 },
	{ "body of message", 1 }, { "ursprung", 1 }, { "message d'origine", 1 }, { "mensaje original", 1 },
	{ "the message was", 1 }, { "rejected message", 1 }, { "message details", 1 }, { "nachrichten", 1 },
	{ NULL, 0 },
};

bool phrases_marker(struct slice folded)
{
	static struct phrase_index index;
	struct said found = { .bits = 0 };

	phrase_index_build(&index, markers, ~0u);
	phrase_index_search(&index, folded, note, &found);
	return found.bits != 0;
}
