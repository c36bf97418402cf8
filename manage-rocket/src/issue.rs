//! Which message stands behind a button: one `jti` for each (gateway, appointment, action,
//! revision), and the same token, byte for byte, for everyone until the last third of its
//! life. Called by the clinic page alone.
//!
//! An appointment whose facts no longer are those of its message is made the next revision
//! first, so that a button never carries other details than the row beside it shows.

use std::collections::HashMap;

use gateway_min::{UnixTime, claims::ActionType};

use crate::{
    app::App,
    db::{
        DbError,
        appointments::Appointment,
        clinics::{Clinic, Gateway},
        messages::{Message, Signing, keep_message, keep_signing},
    },
    ids::{AppointmentId, Jti, UserId},
    token::{
        claims::{Claims, Content},
        sign::{Unsignable, sign},
    },
};

/// A message ready for a button.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Issued {
    pub(crate) jti: Jti,
    pub(crate) token: String,
    pub(crate) expires: UnixTime,
}

/// What stands behind each button: a message, or the reason why there is none.
pub(crate) type Buttons = HashMap<AppointmentId, Result<Issued, Unsignable>>;

/// Whether a signing can still be handed out: it is this installation's present way of
/// signing, and less than two thirds of its life have passed.
fn is_fresh(signing: &Signing, app: &App, now: UnixTime) -> bool {
    let life = signing.expires.since(signing.issued);
    let age = now.since(signing.issued);
    signing.kid == app.key.kid()
        && signing.issuer == app.public_url.origin()
        && life <= i64::from(app.lifetime_secs)
        // An age below zero: the clock was set back, and no gateway would take it yet.
        && (0..).contains(&age)
        && age.saturating_mul(3) < life.saturating_mul(2)
}

struct Issuer<'a> {
    app: &'a App,
    gateway: &'a Gateway,
    person: UserId,
    now: UnixTime,
}

impl Issuer<'_> {
    /// The claims of `message`, signed from now on.
    fn signing(&self, message: &Message, serial: i64) -> Result<Signing, Unsignable> {
        let expires = self.now.plus(self.app.lifetime_secs);
        let claims = Claims {
            issuer: self.app.public_url.origin(),
            audience: &self.gateway.id,
            issued: self.now,
            expires,
            jti: &message.jti.to_string(),
            actor: &self.person.to_string(),
            content: &message.content,
        };
        let claims = claims.to_json()?;
        // Tried now, so that what cannot be signed is never stored.
        sign(&self.app.key, &claims)?;
        Ok(Signing {
            serial,
            kid: self.app.key.kid().to_owned(),
            issuer: self.app.public_url.origin().to_owned(),
            issued: self.now,
            expires,
            claims,
        })
    }

    fn issued(&self, jti: Jti, signing: &Signing) -> Result<Issued, Unsignable> {
        Ok(Issued {
            jti,
            token: sign(&self.app.key, &signing.claims)?,
            expires: signing.expires,
        })
    }

    /// The message of one appointment, whose present revision's message and its latest
    /// signing are known or not made yet.
    async fn button(
        &self,
        appointment: &Appointment,
        known: Option<&Message>,
        signing: Option<&Signing>,
    ) -> Result<Result<Issued, Unsignable>, DbError> {
        let source_digest = appointment.source_digest();
        let mut revision = appointment.revision;
        if let Some(message) = known {
            if message.source_digest == source_digest {
                return match signing {
                    Some(signing) if is_fresh(signing, self.app, self.now) => {
                        Ok(self.issued(message.jti, signing))
                    }
                    signing => self.keep(message, signing).await,
                };
            }
            self.app.db.revise(appointment.id, revision).await?;
            revision = revision.saturating_add(1);
        }
        let content = match Content::create_item(appointment, revision) {
            Ok(content) => content,
            Err(unsignable) => return Ok(Err(unsignable)),
        };
        let message = Message {
            jti: Jti::random(),
            appointment: appointment.id,
            revision,
            source_digest,
            content,
        };
        self.keep(&message, None).await
    }

    /// Keeps a message that is new, and a signing that is new, in one transaction.
    async fn keep(
        &self,
        message: &Message,
        signing: Option<&Signing>,
    ) -> Result<Result<Issued, Unsignable>, DbError> {
        // Judged before anything is written: the claims of a new message under any `jti`.
        let serial = signing.map_or(1, |signing| signing.serial.saturating_add(1));
        let first = match self.signing(message, serial) {
            Ok(signing) => signing,
            Err(unsignable) => return Ok(Err(unsignable)),
        };
        let mut transaction = self.app.db.begin().await?;
        let (jti, new) = if signing.is_some() {
            (message.jti, first)
        } else {
            let kept = keep_message(&mut transaction, &self.gateway.id, message, self.now).await?;
            // Another page may have been first: then the message is under its `jti`, and
            // says the same, or it is not this button's.
            if kept.source_digest != message.source_digest {
                return Ok(Err(Unsignable::Changing));
            }
            match self.signing(&kept, serial) {
                Ok(signing) => (kept.jti, signing),
                Err(unsignable) => return Ok(Err(unsignable)),
            }
        };
        let kept = keep_signing(&mut transaction, jti, &new, self.person).await?;
        transaction.commit().await?;
        Ok(self.issued(jti, &kept))
    }
}

/// The messages behind the buttons of these appointments, all of one clinic.
///
/// # Errors
/// [`DbError`]. What a single appointment lacks is in its entry of [`Buttons`].
pub(crate) async fn create_item(
    app: &App,
    person: UserId,
    clinic: &Clinic,
    gateway: &Gateway,
    appointments: &[&Appointment],
) -> Result<Buttons, DbError> {
    let issuer = Issuer {
        app,
        gateway,
        person,
        now: app.clock.now(),
    };
    let action = ActionType::WorklistCreateItem;
    let messages = app.db.messages(clinic.id, &gateway.id, action).await?;
    let messages = messages.iter().map(|m| ((m.appointment, m.revision), m));
    let messages: HashMap<_, _> = messages.collect();
    let signings = app.db.signings(clinic.id, &gateway.id).await?;
    let mut buttons = Buttons::new();
    for appointment in appointments {
        let known = messages.get(&(appointment.id, appointment.revision));
        let signing = known.and_then(|message| signings.get(&message.jti));
        let button = issuer.button(appointment, known.copied(), signing).await?;
        buttons.insert(appointment.id, button);
    }
    Ok(buttons)
}
